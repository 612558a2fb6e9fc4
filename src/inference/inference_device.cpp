#include "inference/inference_device.hpp"

#include <ATen/Context.h>

namespace leda::inference {

at::Device inference_device(const distributed::Communicator& communicator) {
  if (!at::hasCUDA()) return at::kCPU;
  const auto num_devices = static_cast<int>(at::getNumGPUs());
  return {at::kCUDA, static_cast<c10::DeviceIndex>(communicator.local_rank() % num_devices)};
}

}  // namespace leda::inference
