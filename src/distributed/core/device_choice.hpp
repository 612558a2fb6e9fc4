// Which GPU each rank takes, decided from what all ranks see, so that every rank finds the same faults. Pure functions:
// no CUDA here. The counts and bus ids come from nccl_device_ranks.
#pragma once

#include <string>
#include <vector>

namespace leda::distributed {

// One rank's view of its host.
struct RankSite {
  std::string host;
  int local_rank = 0;   // among the ranks of this host
  int num_visible = 0;  // GPUs that this rank's process may use
};

// Device index by rank. A launcher that gives each rank a GPU of its own shows it as the only one: index 0. Otherwise
// the local rank. ErrorOnAllRanks(options) names the first rank for which there is none.
std::vector<int> choose_devices(const std::vector<RankSite>& sites);

// Where a rank's device really is: a machine, and the device's PCI bus id on it.
struct DeviceAddress {
  std::string machine;  // distinct for distinct running kernels
  std::string host;     // for messages
  std::string bus_id;
};

// ErrorOnAllRanks(options) names the first two ranks that share a device: NCCL cannot serve them.
void require_distinct_devices(const std::vector<DeviceAddress>& addresses);

}  // namespace leda::distributed
