// How ranks find each other for NCCL, and how a communicator that never blocks is waited for: every wait has a bound.
#pragma once

#include <nccl.h>

#include <string>

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

// An NCCL communicator of the calling thread's device, over the ranks of `control`, which carries the id from rank 0
// and holds all ranks until each is connected. Collective. Error(communication) with NCCL's reason, or after
// `timeout_seconds`.
ncclComm_t connect_ranks(Communicator& control, double timeout_seconds);

// For the result of a call on a communicator in non-blocking mode: waits while NCCL is still at it on the host (it has
// not reached the stream yet), and throws Error(communication) for anything but success within the time.
void await_success(ncclComm_t communicator, ncclResult_t result, const std::string& call, double timeout_seconds);

// Ends the communicator without the other ranks, on a thread of its own. False where that did not return in time; the
// thread then stays behind, and the process should end.
bool abort_within(ncclComm_t communicator, int device_index, double timeout_seconds);

}  // namespace leda::distributed
