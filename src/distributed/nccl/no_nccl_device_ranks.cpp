#include <fmt/format.h>

#include "base/error.hpp"
#include "distributed/core/device_ranks.hpp"

namespace leda::distributed {

DeviceRanks connect_devices(Communicator& control, const DeviceOptions&) {
  throw base::ErrorOnAllRanks(
      base::ExitCode::options,
      {.what = "several ranks on GPUs need NCCL, which this program was linked without",
       .value = fmt::format("{} ranks", control.size()),
       .why = "MPI would have to move device memory",
       .remedy = "build the cuda preset (docs/getting_started.md) and start its program, or set "
                 "run.device = cpu"});
}

}  // namespace leda::distributed
