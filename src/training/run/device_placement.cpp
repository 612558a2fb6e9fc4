#include "training/run/device_placement.hpp"

#include <ATen/Context.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/choice.hpp"
#include "base/error.hpp"

namespace leda::training {
namespace {

// The same answer on every rank.
bool wants_gpus(DeviceChoice wanted, distributed::Communicator& control) {
  if (wanted == DeviceChoice::cpu) return false;
  const auto sees_gpu = distributed::all_gather_texts(control, at::hasCUDA() ? "yes" : "no");
  const auto blind = std::find(sees_gpu.begin(), sees_gpu.end(), "no");
  if (blind == sees_gpu.end()) return true;
  const bool nobody_sees = std::find(sees_gpu.begin(), sees_gpu.end(), "yes") == sees_gpu.end();
  if (nobody_sees && wanted == DeviceChoice::automatic) return false;
  throw base::ErrorOnAllRanks(
      base::ExitCode::options,
      {.what = fmt::format("run.device = {}, but {} finds no GPU", base::name_of(wanted),
                           nobody_sees ? "this program" : fmt::format("rank {}", blind - sees_gpu.begin())),
       .value = nobody_sees ? "no CUDA device" : "other ranks find one",
       .why = "all ranks train on the same kind of device",
       .remedy = "build with the cuda preset and start on machines with a driver, or set run.device = cpu"});
}

}  // namespace

DevicePlacement::DevicePlacement(DeviceChoice wanted, distributed::Communicator& control,
                                 const distributed::DeviceOptions& options)
    : control_(control) {
  if (!wants_gpus(wanted, control)) return;
  if (control.size() == 1) {
    device_ = at::Device(at::kCUDA, 0);
    return;
  }
  distributed::DeviceRanks ranks = distributed::connect_devices(control, options);
  device_ = at::Device(at::kCUDA, static_cast<c10::DeviceIndex>(ranks.device_index));
  across_devices_ = std::move(ranks.communicator);
}

}  // namespace leda::training
