#include "distributed/nccl/nccl_bootstrap.hpp"

#include <ATen/ops/empty.h>
#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "distributed/core/bounded_call.hpp"
#include "distributed/nccl/nccl_check.hpp"

namespace leda::distributed {
namespace {

constexpr double kSecondsToAbort = 3.0;

// MPI carries host memory only: these bytes are all that NCCL needs from it.
ncclUniqueId shared_id(Communicator& control) {
  ncclUniqueId id = {};
  if (control.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId", nullptr);
  const at::Tensor bytes = at::empty({NCCL_UNIQUE_ID_BYTES}, at::kByte);
  std::memcpy(bytes.mutable_data_ptr(), id.internal, NCCL_UNIQUE_ID_BYTES);
  control.broadcast(bytes, 0);
  std::memcpy(id.internal, bytes.const_data_ptr(), NCCL_UNIQUE_ID_BYTES);
  return id;
}

// NCCL's state once it has stopped working on the host, or ncclInProgress when the time is over.
ncclResult_t settled_state(ncclComm_t communicator, double timeout_seconds) {
  const base::Stopwatch stopwatch;
  for (std::chrono::microseconds pause(20);; pause = std::min(2 * pause, std::chrono::microseconds(1000))) {
    ncclResult_t state = ncclSuccess;
    const ncclResult_t asked = ncclCommGetAsyncError(communicator, &state);
    if (asked != ncclSuccess) return asked;
    if (state != ncclInProgress || stopwatch.seconds() > timeout_seconds) return state;
    std::this_thread::sleep_for(pause);
  }
}

}  // namespace

void await_success(ncclComm_t communicator, ncclResult_t result, const std::string& call, double timeout_seconds) {
  if (result == ncclInProgress) result = settled_state(communicator, timeout_seconds);
  if (result == ncclInProgress) {
    throw base::Error(base::ExitCode::communication,
                      {.what = fmt::format("{} is still under way after {} s", call, timeout_seconds),
                       .value = nccl_text(result, communicator),
                       .why = "a rank that waits for another for ever would waste the job's time",
                       .remedy = "look for an earlier message of another rank; check the network (NCCL_DEBUG=INFO, "
                                 "NCCL_SOCKET_IFNAME), or allow more time: distributed.init_timeout_seconds at the "
                                 "start, distributed.timeout_seconds later"});
  }
  check_nccl(result, call, communicator);
}

ncclComm_t connect_ranks(Communicator& control, double timeout_seconds) {
  const ncclUniqueId id = shared_id(control);
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // calls return at once, and can be ended
  ncclComm_t communicator = nullptr;
  try {
    const ncclResult_t result = ncclCommInitRankConfig(&communicator, control.size(), id, control.rank(), &config);
    await_success(communicator, result, "connecting the GPUs (ncclCommInitRank)", timeout_seconds);
  } catch (const base::Error&) {
    int device_index = 0;
    cudaGetDevice(&device_index);
    if (communicator != nullptr) abort_within(communicator, device_index, kSecondsToAbort);
    throw;
  }
  // Without it a rank may start its first collective while another still connects, and both wait for ever.
  control.barrier();
  return communicator;
}

bool abort_within(ncclComm_t communicator, int device_index, double timeout_seconds) {
  return completes_within(timeout_seconds, [communicator, device_index] {
    cudaSetDevice(device_index);
    ncclCommAbort(communicator);
  });
}

}  // namespace leda::distributed
