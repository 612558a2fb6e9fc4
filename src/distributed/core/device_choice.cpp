#include "distributed/core/device_choice.hpp"

#include <fmt/format.h>

#include <map>
#include <utility>

#include "base/error.hpp"

namespace leda::distributed {

std::vector<int> choose_devices(const std::vector<RankSite>& sites) {
  std::vector<int> devices;
  for (std::size_t rank = 0; rank < sites.size(); ++rank) {
    const RankSite& site = sites[rank];
    const int device = site.num_visible == 1 ? 0 : site.local_rank;
    if (device >= site.num_visible) {
      throw base::ErrorOnAllRanks(
          base::ExitCode::options,
          {.what = fmt::format("there is no GPU for rank {}", rank),
           .value = fmt::format("it is local rank {} on {}, and sees {} GPU{}", site.local_rank, site.host,
                                site.num_visible, site.num_visible == 1 ? "" : "s"),
           .why = "each rank needs a GPU of its own",
           .remedy = "start at most as many ranks on a host as it shows GPUs (mpirun --map-by ppr:N:node, srun "
                     "--ntasks-per-node=N, CUDA_VISIBLE_DEVICES), or set run.device = cpu"});
    }
    devices.push_back(device);
  }
  return devices;
}

void require_distinct_devices(const std::vector<DeviceAddress>& addresses) {
  std::map<std::pair<std::string, std::string>, std::size_t> first_rank;
  for (std::size_t rank = 0; rank < addresses.size(); ++rank) {
    const DeviceAddress& address = addresses[rank];
    const auto [place, is_new] = first_rank.try_emplace({address.machine, address.bus_id}, rank);
    if (is_new) continue;
    throw base::ErrorOnAllRanks(
        base::ExitCode::options,
        {.what = fmt::format("ranks {} and {} have the same GPU", place->second, rank),
         .value = fmt::format("device {} on {}", address.bus_id, address.host),
         .why = "NCCL gives each rank a GPU of its own and fails on a shared one",
         .remedy = "start at most one rank per GPU; with srun, --gpus-per-task=1 or no GPU binding at all"});
  }
}

}  // namespace leda::distributed
