// One NCCL communicator and the stream that all its collectives run on, with the hand-off between that stream and the
// compute stream by events: the host never waits for the device. Raw pointers and counts; tensors are
// NcclCommunicator's business.
//
// Lives from the choice of the device to the end of training; its destructor shuts down in order: it is called on every
// rank after the same step, drains the stream, meets the other ranks, then tears down. While an exception passes it
// aborts instead, with a bound. One thread at a time, any thread (autograd's device threads start collectives).
#pragma once

#include <nccl.h>

#include <functional>
#include <optional>
#include <string>

#include "distributed/core/communicator.hpp"
#include "distributed/core/device_ranks.hpp"
#include "distributed/nccl/cuda_handles.hpp"
#include "distributed/nccl/nccl_watchdog.hpp"

namespace leda::distributed {

class NcclConnection {
 public:
  // The NCCL calls of one collective, on this communicator and stream.
  using Calls = std::function<ncclResult_t(ncclComm_t communicator, cudaStream_t stream)>;

  // Collective. Errors as connect_ranks. `control` outlives it.
  NcclConnection(Communicator& control, int device_index, const DeviceOptions& options);
  ~NcclConnection();
  NcclConnection(const NcclConnection&) = delete;
  NcclConnection& operator=(const NcclConnection&) = delete;

  // Puts the calls on the stream, behind everything that the compute stream has been given so far. The event marks
  // their end; nobody touches the buffers before wait_on_device(event).
  CudaEvent start(const std::string& name, const Calls& calls);
  // What the compute stream is given from now on runs after the event. Returns at once.
  void wait_on_device(const CudaEvent& end);

 private:
  void drain();
  void shut_down();
  void abort();

  Communicator& control_;
  int device_index_;
  DeviceOptions options_;
  int exceptions_at_start_;
  CudaStream stream_;
  CudaEvent ready_;  // recorded on the compute stream before each collective
  ncclComm_t communicator_ = nullptr;
  std::optional<NcclWatchdog> watchdog_;
};

}  // namespace leda::distributed
