#include "distributed/nccl/cuda_compute_stream.hpp"

#include <c10/cuda/CUDAStream.h>

namespace leda::distributed {

cudaStream_t compute_stream(int device_index) {
  return c10::cuda::getCurrentCUDAStream(static_cast<c10::DeviceIndex>(device_index)).stream();
}

}  // namespace leda::distributed
