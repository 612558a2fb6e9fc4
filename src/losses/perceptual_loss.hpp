// LPIPS (Zhang et al., CVPR 2018, arXiv 1801.03924) between images in network range.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/perceptual_network.hpp"

namespace leda::losses {

// B x 1 x H x W in [0, 1] twice -> [B]. Images enter the network as 2 y - 1, which its scaling constants expect.
at::Tensor perceptual_loss(const models::PerceptualNetwork& network, const at::Tensor& reconstructed,
                           const at::Tensor& normal_dose);

}  // namespace leda::losses
