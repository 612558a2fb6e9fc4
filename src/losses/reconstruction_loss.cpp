#include "losses/reconstruction_loss.hpp"

#include <ATen/TensorOperators.h>

namespace leda::losses {

at::Tensor absolute_error_per_image(const at::Tensor& first, const at::Tensor& second) {
  return (first - second).abs().flatten(1).mean(1);
}

at::Tensor squared_error_per_image(const at::Tensor& first, const at::Tensor& second) {
  return (first - second).square().flatten(1).mean(1);
}

}  // namespace leda::losses
