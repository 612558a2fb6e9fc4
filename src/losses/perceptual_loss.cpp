#include "losses/perceptual_loss.hpp"

#include <ATen/TensorOperators.h>

namespace leda::losses {

at::Tensor perceptual_loss(const models::PerceptualNetwork& network, const at::Tensor& reconstructed,
                           const at::Tensor& normal_dose, PerceptualInput input) {
  if (input == PerceptualInput::unit) return network.distance(reconstructed, normal_dose);
  return network.distance(2 * reconstructed - 1, 2 * normal_dose - 1);
}

}  // namespace leda::losses
