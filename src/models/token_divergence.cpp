#include "models/token_divergence.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

namespace leda::models {
namespace {

// sum_t exp(x_t) and sum_t exp(x_t) e_t of logits x that come in tiles, kept relative to their running maximum.
struct RunningSoftmax {
  at::Tensor maximum;   // [N]
  at::Tensor sum;       // [N]
  at::Tensor weighted;  // [N, C]; undefined if not asked for

  RunningSoftmax(const at::Tensor& vectors, bool embeddings)
      : maximum(at::full({vectors.size(0)}, -std::numeric_limits<double>::infinity(), vectors.options())),
        sum(at::zeros({vectors.size(0)}, vectors.options())),
        weighted(embeddings ? at::zeros_like(vectors) : at::Tensor()) {}

  void add(const at::Tensor& logits, const at::Tensor& words) {
    const at::Tensor new_maximum = at::maximum(maximum, std::get<0>(logits.max(1)));
    const at::Tensor shrink = (maximum - new_maximum).exp_();
    const at::Tensor shares = (logits - new_maximum.unsqueeze(1)).exp_();
    sum.mul_(shrink).add_(shares.sum(1));
    if (weighted.defined()) weighted.mul_(shrink.unsqueeze(1)).addmm_(shares, words);
    maximum = new_maximum;
  }
  at::Tensor log_sum() const { return maximum + sum.log(); }
  at::Tensor mean_embedding() const { return weighted / sum.unsqueeze(1); }
};

at::Tensor logits_of(const at::Tensor& vectors, const at::Tensor& words, double temperature) {
  return at::addmm(words.square().sum(1).neg_(), vectors, words.t(), 1, 2).div_(temperature);
}

template <typename Visit>
void for_each_tile(const at::Tensor& codebook, std::int64_t tile, const Visit& visit) {
  for (std::int64_t first = 0; first < codebook.size(0); first += tile) {
    visit(codebook.slice(0, first, std::min(first + tile, codebook.size(0))));
  }
}

// e^c - 1 - c. The difference loses its digits near 0, where five terms of the series are right to 1e-12.
at::Tensor exponential_remainder(const at::Tensor& c) {
  const at::Tensor series = c.square() / 2 * (1 + c / 3 * (1 + c / 4 * (1 + c / 5 * (1 + c / 6))));
  return at::where(c.abs() < 0.02, series, at::expm1(c) - c);
}

struct Divergence {
  at::Tensor value;     // [N]
  at::Tensor gradient;  // [N, C], in the vectors, if asked for
};

// With p of the reference and c_t = (a_t - b_t) / temperature less its mean under p, the divergence is
// log sum_t p_t e^{c_t} = log(1 + sum_t p_t (e^{c_t} - 1 - c_t)): a sum of terms that are all positive and all 0 for
// equal vectors. Differences of two log partitions would drown small divergences in rounding. Where c is large that
// sum may overflow, and the running softmax of log p + c takes its place.
Divergence diverge(const at::Tensor& vectors, const at::Tensor& reference, const at::Tensor& codebook,
                   double temperature, std::int64_t tile, bool gradient) {
  RunningSoftmax of_reference(reference, true);
  for_each_tile(codebook, tile,
                [&](const at::Tensor& words) { of_reference.add(logits_of(reference, words, temperature), words); });
  const at::Tensor log_partition = of_reference.log_sum().unsqueeze(1);
  const at::Tensor reference_embedding = of_reference.mean_embedding();
  const at::Tensor shift = (vectors - reference) * (2 / temperature);
  const at::Tensor mean_shift = (shift * reference_embedding).sum(1, true);

  RunningSoftmax of_vectors(vectors, gradient);
  at::Tensor remainder = at::zeros({vectors.size(0)}, vectors.options());
  at::Tensor embedding_change = gradient ? at::zeros_like(vectors) : at::Tensor();  // sum_t p_t (e^{c_t} - 1) e_t
  for_each_tile(codebook, tile, [&](const at::Tensor& words) {
    const at::Tensor log_p = logits_of(reference, words, temperature) - log_partition;
    const at::Tensor c = at::mm(shift, words.t()) - mean_shift;
    const at::Tensor p = log_p.exp();
    of_vectors.add(log_p + c, words);
    remainder.add_((p * exponential_remainder(c)).sum(1));
    if (gradient) embedding_change.addmm_(p * at::expm1(c), words);
  });

  // NaN and infinity are not below 1.
  const at::Tensor is_small = remainder < 1;
  Divergence divergence{.value = at::where(is_small, remainder.log1p(), of_vectors.log_sum()), .gradient = {}};
  if (gradient) {
    const at::Tensor mass = remainder.unsqueeze(1);
    const at::Tensor small = (embedding_change - mass * reference_embedding) / (1 + mass);
    const at::Tensor large = of_vectors.mean_embedding() - reference_embedding;
    divergence.gradient = at::where(is_small.unsqueeze(1), small, large) * (2 / temperature);
  }
  return divergence;
}

class TokenDivergence : public torch::autograd::Function<TokenDivergence> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& vectors,
                            const at::Tensor& reference, const at::Tensor& codebook, double temperature,
                            std::int64_t tile) {
    const Divergence divergence = diverge(vectors, reference, codebook, temperature, tile, true);
    context->save_for_backward({divergence.gradient});
    return divergence.value;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& output_gradients) {
    const at::Tensor gradient = context->get_saved_variables()[0];
    return {output_gradients[0].unsqueeze(1) * gradient, at::Tensor(), at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

at::Tensor token_divergence(const at::Tensor& vectors, const at::Tensor& reference, const at::Tensor& codebook,
                            double temperature, std::int64_t tile) {
  const at::Tensor fixed_reference = reference.detach();
  const at::Tensor words = codebook.detach();
  if (!vectors.requires_grad() || !c10::GradMode::is_enabled()) {
    return diverge(vectors.detach(), fixed_reference, words, temperature, tile, false).value;
  }
  return TokenDivergence::apply(vectors, fixed_reference, words, temperature, tile);
}

}  // namespace leda::models
