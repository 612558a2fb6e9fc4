// LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924) between images in network range.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/perceptual_network.hpp"

namespace leda::losses {

enum class PerceptualInput {
  symmetric,  // as 2 y - 1, which the network's scaling constants expect
  unit,       // as they are, as the published code of LEDA has it
};

// B x 1 x H x W in [0, 1] twice -> [B]. `input`: how the images enter the network.
at::Tensor perceptual_loss(const models::PerceptualNetwork& network, const at::Tensor& reconstructed,
                           const at::Tensor& normal_dose, PerceptualInput input = PerceptualInput::symmetric);

}  // namespace leda::losses
