// Which gradients were not finite, noted on their own device: nothing here waits for it but take(). For each
// parameter the first step in which it had a NaN or an infinity is kept. Belongs to one GradientSynchronizer.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leda::distributed {

class NonFiniteTracker {
 public:
  // One list of gradients, all on one device and not empty, for each bucket.
  explicit NonFiniteTracker(std::vector<std::vector<at::Tensor>> gradients_of_bucket);

  // Looks at the gradients of a bucket as they are now.
  void note(int bucket, std::int64_t step);
  // First bad step of every gradient, bucket after bucket, -1 for none: int64 [number of gradients] in host memory.
  // Starts afresh. Waits for the device.
  at::Tensor take();

 private:
  std::vector<std::vector<at::Tensor>> gradients_of_bucket_;
  std::vector<at::Tensor> first_bad_steps_;  // by bucket
};

}  // namespace leda::distributed
