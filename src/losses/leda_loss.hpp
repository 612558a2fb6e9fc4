// The LEDA loss of stage 2 (arXiv 2403.06128): denoised and normal-dose images must look alike to the frozen
// autoencoder, in its continuous latents and in its quantised ones. Formulas: docs/methods/leda_loss.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <string_view>

#include "models/autoencoder.hpp"

namespace leda::losses {

enum class TokenTerm {
  hard,  // the published form
  soft,
};
constexpr std::array<std::string_view, 2> names_of(TokenTerm) { return {"hard", "soft"}; }

struct TokenTermOptions {
  TokenTerm term = TokenTerm::hard;
  double temperature = 1.0;  // of the soft term's distributions
};

struct LedaTerms {
  // [B]. hard: MSE(zq(denoised), zq(normal_dose)), exactly 0 where all tokens agree. soft: the mean over existing
  // levels of the mean over their positions of KL(tokens of normal_dose || tokens of denoised), in nats; exactly 0 for
  // equal images.
  at::Tensor token;
  at::Tensor feature;  // [B]: MSE(E(denoised), E(normal_dose))
  // [L, 2], int64: per level, positions whose tokens agree, and positions; absent levels are 0, 0. Add over batches
  // and ranks, then divide.
  at::Tensor token_agreement;
};

// denoised, normal_dose: B x 1 x H x W, network range, not clamped; B may be 0. The autoencoder is frozen: gradients
// go to `denoised` alone. The hard token term's gradient with respect to zq goes to E(denoised) unchanged
// (straight-through); the soft one's goes through the level inputs z^l, with the chosen embeddings as constants.
LedaTerms leda_loss(const models::Autoencoder& autoencoder, const at::Tensor& denoised, const at::Tensor& normal_dose,
                    const TokenTermOptions& token_term = {});

}  // namespace leda::losses
