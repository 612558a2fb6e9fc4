#include "distributed/nccl/nccl_connection.hpp"

#include <chrono>
#include <exception>
#include <thread>

#include "base/clock.hpp"
#include "base/exit_code.hpp"
#include "distributed/core/bounded_call.hpp"
#include "distributed/nccl/cuda_compute_stream.hpp"
#include "distributed/nccl/nccl_bootstrap.hpp"

namespace leda::distributed {
namespace {

constexpr double kSecondsToDrainAfterAnError = 1.0;
// For the message of the error that passes, once a library call is stuck and may block the process's end too.
constexpr double kSecondsToLeave = 10.0;

int use_device(int device_index) {
  check_cuda(cudaSetDevice(device_index), "cudaSetDevice");
  return device_index;
}

}  // namespace

NcclConnection::NcclConnection(Communicator& control, int device_index, const DeviceOptions& options)
    : control_(control),
      device_index_(use_device(device_index)),
      options_(options),
      exceptions_at_start_(std::uncaught_exceptions()),
      communicator_(connect_ranks(control, options.init_timeout_seconds)) {
  watchdog_.emplace(communicator_, stream_.get(), device_index_, control.rank(), options_);
}

CudaEvent NcclConnection::start(const std::string& name, const Calls& calls) {
  // The current device belongs to the thread, and so does the meaning of "default stream".
  check_cuda(cudaSetDevice(device_index_), "cudaSetDevice");
  check_cuda(cudaEventRecord(ready_.get(), compute_stream(device_index_)), "cudaEventRecord");
  check_cuda(cudaStreamWaitEvent(stream_.get(), ready_.get(), 0), "cudaStreamWaitEvent");
  // Until NCCL has put the collective on the stream, an event recorded there would be ahead of it.
  await_success(communicator_, calls(communicator_, stream_.get()), name, options_.timeout_seconds);
  CudaEvent end;
  check_cuda(cudaEventRecord(end.get(), stream_.get()), "cudaEventRecord");
  watchdog_->note_collective(name);
  return end;
}

void NcclConnection::wait_on_device(const CudaEvent& end) {
  check_cuda(cudaSetDevice(device_index_), "cudaSetDevice");
  check_cuda(cudaStreamWaitEvent(compute_stream(device_index_), end.get(), 0), "cudaStreamWaitEvent");
}

NcclConnection::~NcclConnection() {
  if (std::uncaught_exceptions() > exceptions_at_start_) {
    abort();
    return;
  }
  try {
    shut_down();
  } catch (const std::exception& error) {
    watchdog_->end_process(error.what());
  }
}

// Polls, because a wait inside CUDA would stop MPI's progress. The watchdog ends the process where nothing moves.
void NcclConnection::drain() {
  cudaError_t state = cudaStreamQuery(stream_.get());
  for (; state == cudaErrorNotReady; state = cudaStreamQuery(stream_.get())) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  check_cuda(state, "draining the GPU's collectives");
}

void NcclConnection::shut_down() {
  check_cuda(cudaSetDevice(device_index_), "cudaSetDevice");
  drain();
  control_.barrier();
  await_success(communicator_, ncclCommFinalize(communicator_), "ncclCommFinalize", options_.timeout_seconds);
  watchdog_.reset();
  // Finalised, it has nothing to wait for; yet nobody watches any more.
  const bool is_destroyed = completes_within(options_.abort_timeout_seconds, [communicator = communicator_] {
    const ncclResult_t result = ncclCommDestroy(communicator);
    if (result != ncclInProgress) check_nccl(result, "ncclCommDestroy", nullptr);
  });
  if (!is_destroyed) exit_after(kSecondsToLeave, static_cast<int>(base::ExitCode::communication));
}

// The other ranks may be anywhere. Where all of them found the same error, their collectives are complete and the
// stream drains; kernels that still run are aborted only after that chance.
void NcclConnection::abort() {
  const base::Stopwatch stopwatch;
  cudaSetDevice(device_index_);
  while (cudaStreamQuery(stream_.get()) == cudaErrorNotReady && stopwatch.seconds() < kSecondsToDrainAfterAnError) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  watchdog_.reset();
  if (abort_within(communicator_, device_index_, options_.abort_timeout_seconds)) return;
  stream_.release();
  ready_.release();
  exit_after(kSecondsToLeave, static_cast<int>(base::ExitCode::communication));
}

}  // namespace leda::distributed
