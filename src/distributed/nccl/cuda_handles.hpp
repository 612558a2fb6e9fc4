// A CUDA stream and a CUDA event as owners: made for the calling thread's device, move-only, destroyed with the object.
#pragma once

#include <cuda_runtime_api.h>

#include <utility>

#include "distributed/nccl/nccl_check.hpp"

namespace leda::distributed {

// Runs beside the default stream, at the highest priority of the device.
class CudaStream {
 public:
  CudaStream() {
    int lowest = 0;
    int highest = 0;
    check_cuda(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "cudaDeviceGetStreamPriorityRange");
    check_cuda(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, highest), "cudaStreamCreateWithPriority");
  }
  ~CudaStream() {
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
  }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  cudaStream_t get() const { return stream_; }
  // Left to the end of the process, where destroying it could wait for ever.
  void release() { stream_ = nullptr; }

 private:
  cudaStream_t stream_ = nullptr;
};

// Marks a place in a stream; takes no times, which would cost.
class CudaEvent {
 public:
  CudaEvent() { check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  ~CudaEvent() {
    if (event_ != nullptr) cudaEventDestroy(event_);
  }
  CudaEvent(CudaEvent&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  CudaEvent& operator=(CudaEvent&&) = delete;

  cudaEvent_t get() const { return event_; }
  void release() { event_ = nullptr; }

 private:
  cudaEvent_t event_ = nullptr;
};

}  // namespace leda::distributed
