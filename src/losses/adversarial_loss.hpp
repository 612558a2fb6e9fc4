// The adversarial game of stage 1 (VQGAN: Esser, Rombach, Ommer, arXiv 2012.09841): hinge losses on patch logits, and
// the weight that balances the generator's part against reconstruction at the decoder's last layer.
#pragma once

#include <ATen/core/Tensor.h>

#include "models/network.hpp"

namespace leda::losses {

// Patch logits, B x 1 x h x w -> [B]: (mean relu(1 - real) + mean relu(1 + reconstructed)) / 2.
at::Tensor discriminator_hinge_loss(const at::Tensor& real_logits, const at::Tensor& reconstructed_logits);
// -> [B]: -mean of the logits.
at::Tensor generator_loss(const at::Tensor& reconstructed_logits);

// discriminator_weight * clamp(|g_nll| / (|g_generator| + 1e-4), 0, 1e4), a detached scalar; g are the gradients with
// respect to `last_layer_weight`, L2 norms. The totals are this rank's parts of the means over all ranks' images, so
// that the gradients, summed over ranks before the norms are taken, are those of one rank holding the whole batch.
// A total that does not depend on the weight (a rank without images) counts as zero. The graphs are kept.
at::Tensor adaptive_weight(const at::Tensor& nll_total, const at::Tensor& generator_total,
                           const at::Tensor& last_layer_weight, const models::SumOverRanks& sum_over_ranks,
                           double discriminator_weight);

}  // namespace leda::losses
