#include <fmt/format.h>

#include <array>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "distributed/core/device_choice.hpp"
#include "distributed/core/device_communicator.hpp"
#include "distributed/core/device_ranks.hpp"
#include "distributed/core/host_name.hpp"
#include "distributed/nccl/nccl_check.hpp"
#include "distributed/nccl/nccl_communicator.hpp"

namespace leda::distributed {
namespace {

// Containers may share a host's name, or one name be given to many hosts: the kernel's own id tells machines apart.
std::string machine_id() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  return std::getline(file, id) ? id : host_name();
}

std::string bus_id(int device_index) {
  std::array<char, 32> id{};
  check_cuda(cudaDeviceGetPCIBusId(id.data(), static_cast<int>(id.size()), device_index), "cudaDeviceGetPCIBusId");
  return id.data();
}

int chosen_device(Communicator& control) {
  int num_visible = 0;
  if (cudaGetDeviceCount(&num_visible) != cudaSuccess) num_visible = 0;
  const auto hosts = all_gather_texts(control, host_name());
  const auto local_ranks = all_gather_texts(control, std::to_string(control.local_rank()));
  const auto counts = all_gather_texts(control, std::to_string(num_visible));
  std::vector<RankSite> sites;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    sites.push_back({hosts[rank], std::stoi(local_ranks[rank]), std::stoi(counts[rank])});
  }
  return choose_devices(sites)[static_cast<std::size_t>(control.rank())];
}

void require_own_device(Communicator& control, int device_index) {
  const auto machines = all_gather_texts(control, machine_id());
  const auto hosts = all_gather_texts(control, host_name());
  const auto bus_ids = all_gather_texts(control, bus_id(device_index));
  std::vector<DeviceAddress> addresses;
  for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
    addresses.push_back({machines[rank], hosts[rank], bus_ids[rank]});
  }
  require_distinct_devices(addresses);
}

}  // namespace

DeviceRanks connect_devices(Communicator& control, const DeviceOptions& options) {
  const int device_index = chosen_device(control);
  require_own_device(control, device_index);
  auto nccl = control.watch_alike(std::make_unique<NcclCommunicator>(control, device_index, options));
  return {device_index, std::make_unique<DeviceCommunicator>(control, std::move(nccl))};
}

}  // namespace leda::distributed
