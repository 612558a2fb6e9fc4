#include "losses/leda_loss.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "losses/reconstruction_loss.hpp"
#include "models/token_divergence.hpp"
#include "models/vocabulary_scores.hpp"

namespace leda::losses {

namespace {

at::Tensor count_agreement(const models::QuantizedLatent& first, const models::QuantizedLatent& second) {
  std::vector<at::Tensor> rows;
  const at::TensorOptions options = first.quantized.options().dtype(at::kLong).requires_grad(false);
  for (std::size_t index = 0; index < first.levels.size(); ++index) {
    at::Tensor row = at::zeros({2}, options);
    if (first.levels[index].exists) {
      const at::Tensor same = first.levels[index].tokens.eq(second.levels[index].tokens);
      row[0].copy_(same.sum());
      row[1].fill_(same.numel());
    }
    rows.push_back(row);
  }
  return at::stack(rows);
}

// -> [B].
at::Tensor soft_token_term(const models::Autoencoder& autoencoder, const std::vector<models::LevelTokens>& levels,
                           const std::vector<models::LevelTokens>& reference, double temperature) {
  // The scores are those the tokens are chosen by.
  const auto compared = [&](const at::Tensor& vectors) {
    return autoencoder.metric().cosine ? models::to_unit_length(vectors, 1) : vectors;
  };
  const at::Tensor words = compared(autoencoder.codebook());
  std::vector<at::Tensor> means;
  for (std::size_t index = 0; index < levels.size(); ++index) {
    if (!levels[index].exists) continue;
    const at::Tensor inputs = levels[index].inputs;
    const at::Tensor divergence =
        models::token_divergence(compared(inputs.flatten(0, 2)), compared(reference[index].inputs.flatten(0, 2)), words,
                                 temperature, autoencoder.options().vocabulary_tile);
    means.push_back(divergence.view({inputs.size(0), inputs.size(1) * inputs.size(2)}).mean(1));
  }
  return at::stack(means).mean(0);
}

}  // namespace

LedaTerms leda_loss(const models::Autoencoder& autoencoder, const at::Tensor& denoised, const at::Tensor& normal_dose,
                    const TokenTermOptions& token_term) {
  at::Tensor reference_latent;
  models::QuantizedLatent reference;
  {
    const at::NoGradGuard no_graph;
    reference_latent = autoencoder.encode(normal_dose);
    reference = autoencoder.quantize(reference_latent, {.gradients = false});
  }
  const at::Tensor latent = autoencoder.encode(denoised);
  const models::QuantizedLatent quantized = autoencoder.quantize(latent, {});

  LedaTerms terms;
  if (token_term.term == TokenTerm::soft) {
    terms.token = soft_token_term(autoencoder, quantized.levels, reference.levels, token_term.temperature);
  } else {
    // straight_through has the value of zq to the last bit, so equal tokens give exactly 0.
    terms.token = squared_error_per_image(quantized.straight_through, reference.quantized);
  }
  terms.feature = squared_error_per_image(latent, reference_latent);
  terms.token_agreement = count_agreement(quantized, reference);
  return terms;
}

}  // namespace leda::losses
