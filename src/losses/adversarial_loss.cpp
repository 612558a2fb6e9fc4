#include "losses/adversarial_loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/autograd.h>

namespace leda::losses {

namespace {

constexpr double kSmallestNorm = 1e-4;
constexpr double kLargestRatio = 1e4;

// L2 norm of d total / d weight, the gradient summed over ranks. Every rank makes the sum, whatever it holds.
at::Tensor gradient_norm(const at::Tensor& total, const at::Tensor& weight,
                         const models::SumOverRanks& sum_over_ranks) {
  at::Tensor gradient;
  if (total.requires_grad()) {
    gradient = torch::autograd::grad({total}, {weight}, {}, /*retain_graph=*/true, /*create_graph=*/false,
                                     /*allow_unused=*/true)[0];
  }
  if (!gradient.defined()) gradient = at::zeros_like(weight);
  return at::linalg_vector_norm(sum_over_ranks(gradient.detach().contiguous()));
}

}  // namespace

at::Tensor discriminator_hinge_loss(const at::Tensor& real_logits, const at::Tensor& reconstructed_logits) {
  const at::Tensor real = at::relu(1 - real_logits).flatten(1).mean(1);
  const at::Tensor reconstructed = at::relu(1 + reconstructed_logits).flatten(1).mean(1);
  return 0.5 * (real + reconstructed);
}

at::Tensor generator_loss(const at::Tensor& reconstructed_logits) {
  return reconstructed_logits.flatten(1).mean(1).neg();
}

at::Tensor adaptive_weight(const at::Tensor& nll_total, const at::Tensor& generator_total,
                           const at::Tensor& last_layer_weight, const models::SumOverRanks& sum_over_ranks,
                           double discriminator_weight) {
  const at::Tensor nll_norm = gradient_norm(nll_total, last_layer_weight, sum_over_ranks);
  const at::Tensor generator_norm = gradient_norm(generator_total, last_layer_weight, sum_over_ranks);
  const at::Tensor ratio = (nll_norm / (generator_norm + kSmallestNorm)).clamp(0.0, kLargestRatio);
  return (discriminator_weight * ratio).detach();
}

}  // namespace leda::losses
