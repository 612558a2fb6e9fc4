// In the place of src/distributed/nccl/cuda_compute_stream.cpp.
#include "distributed/nccl/cuda_compute_stream.hpp"
#include "tests/distributed/fake_gpu/device_model.hpp"

namespace leda::distributed {

cudaStream_t compute_stream(int) {
  return reinterpret_cast<cudaStream_t>(test::fake_gpu::DeviceModel::current().compute());
}

}  // namespace leda::distributed
