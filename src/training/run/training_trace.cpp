#include "training/run/training_trace.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/clock.hpp"
#include "distributed/core/clock_offset.hpp"
#include "distributed/core/host_name.hpp"

namespace leda::training {
namespace {

std::filesystem::path file_name(int rank, int start) {
  return start == 1 ? fmt::format("rank_{}.json", rank) : fmt::format("rank_{}_start_{}.json", rank, start);
}

std::string host_and_process() { return fmt::format("{}, process {}", distributed::host_name(), getpid()); }

}  // namespace

std::unique_ptr<logging::Trace> open_trace(const LoggingOptions& options, const std::filesystem::path& training_folder,
                                           distributed::Communicator& communicator, logging::Console& console) {
  if (!options.trace) return std::make_unique<logging::Trace>();
  const std::filesystem::path folder = training_folder / "trace";
  const at::Tensor agreed = at::zeros({3}, at::kDouble);  // number of this start; origin, steady and calendar
  auto* value = agreed.mutable_data_ptr<double>();
  if (communicator.rank() == 0) {
    int start = 1;
    while (std::filesystem::exists(folder / file_name(0, start))) ++start;
    value[0] = start;
    value[1] = base::steady_seconds();
    value[2] = base::unix_seconds();
  }
  communicator.broadcast(agreed, 0);
  const distributed::ClockOffset offset =
      distributed::estimate_clock_offset(communicator, [] { return base::steady_seconds(); });
  const logging::TraceClock clock{offset.seconds, offset.uncertainty_seconds, value[1], value[2]};
  const int rank = communicator.rank();
  return std::make_unique<logging::Trace>(folder / file_name(rank, static_cast<int>(value[0])), rank,
                                          host_and_process(), clock, console);
}

}  // namespace leda::training
