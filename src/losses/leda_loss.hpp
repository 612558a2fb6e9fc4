// The LEDA loss of stage 2 (arXiv 2403.06128): denoised and normal-dose images must look alike to the frozen
// autoencoder, in its continuous latents and in its quantised ones. Formulas: docs/methods/leda_loss.md.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/autoencoder.hpp"

namespace leda::losses {

struct LedaTerms {
  at::Tensor token;    // [B]: MSE(zq(denoised), zq(normal_dose)), exactly 0 where all tokens agree
  at::Tensor feature;  // [B]: MSE(E(denoised), E(normal_dose))
  // [L, 2], int64: per level, positions whose tokens agree, and positions; absent levels are 0, 0. Add over batches
  // and ranks, then divide.
  at::Tensor token_agreement;
};

// denoised, normal_dose: B x 1 x H x W, network range, not clamped; B may be 0. The autoencoder is frozen: gradients
// go to `denoised` alone. The token term's gradient with respect to zq goes to E(denoised) unchanged
// (straight-through).
LedaTerms leda_loss(const models::Autoencoder& autoencoder, const at::Tensor& denoised, const at::Tensor& normal_dose);

}  // namespace leda::losses
