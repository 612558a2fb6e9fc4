#include "losses/leda_loss.hpp"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <vector>

#include "losses/reconstruction_loss.hpp"

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

}  // namespace

LedaTerms leda_loss(const models::Autoencoder& autoencoder, const at::Tensor& denoised, const at::Tensor& normal_dose) {
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
  // straight_through has the value of zq to the last bit, so equal tokens give exactly 0.
  terms.token = squared_error_per_image(quantized.straight_through, reference.quantized);
  terms.feature = squared_error_per_image(latent, reference_latent);
  terms.token_agreement = count_agreement(quantized, reference);
  return terms;
}

}  // namespace leda::losses
