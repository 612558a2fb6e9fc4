#include "models/vocabulary_scores.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/full.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

namespace leda::models {
namespace {

// What one pass over the vocabulary leaves of N x V scores.
struct Reduction {
  at::Tensor best;            // [N]
  at::Tensor log_partition;   // [N], if asked for
  at::Tensor mean_embedding;  // [N, C], sum_t softmax(a)_t e_t, if asked for
};

// Running maximum m, running sum of exp(a - m) and of exp(a - m) e; the sums are rescaled whenever m grows.
Reduction reduce_scores(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile, bool log_partition,
                        bool mean_embedding) {
  const std::int64_t num_vectors = vectors.size(0);
  const std::int64_t num_words = codebook.size(0);
  at::Tensor best = at::zeros({num_vectors}, vectors.options().dtype(at::kLong));
  at::Tensor maximum = at::full({num_vectors}, -std::numeric_limits<double>::infinity(), vectors.options());
  at::Tensor sum = at::zeros({num_vectors}, vectors.options());
  at::Tensor weighted = mean_embedding ? at::zeros_like(vectors) : at::Tensor();
  for (std::int64_t first = 0; first < num_words; first += tile) {
    const at::Tensor words = codebook.slice(0, first, std::min(first + tile, num_words));
    const at::Tensor minus_squares = words.square().sum(1).neg_();
    at::Tensor scores = at::addmm(minus_squares, vectors, words.t(), 1, 2);  // [N, tile]
    const auto [tile_maximum, tile_best] = scores.max(1);
    best = at::where(tile_maximum > maximum, tile_best + first, best);
    const at::Tensor new_maximum = at::maximum(maximum, tile_maximum);
    if (log_partition) {
      const at::Tensor shrink = (maximum - new_maximum).exp_();
      scores.sub_(new_maximum.unsqueeze(1)).exp_();
      sum.mul_(shrink).add_(scores.sum(1));
      if (mean_embedding) weighted.mul_(shrink.unsqueeze(1)).addmm_(scores, words);
    }
    maximum = new_maximum;
  }
  Reduction reduction{.best = best, .log_partition = {}, .mean_embedding = {}};
  if (log_partition) reduction.log_partition = maximum + sum.log();
  if (mean_embedding) reduction.mean_embedding = weighted.div_(sum.unsqueeze(1));
  return reduction;
}

// d log_partition / dz = 2 sum_t softmax(a)_t e_t. Accumulated beside the scores in the forward pass, it saves the
// backward pass from computing them a second time, at the price of one N x C tensor.
class LogPartition : public torch::autograd::Function<LogPartition> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& vectors,
                                                const at::Tensor& codebook, std::int64_t tile) {
    const Reduction reduction = reduce_scores(vectors, codebook, tile, true, true);
    context->save_for_backward({reduction.mean_embedding});
    context->mark_non_differentiable({reduction.best});
    return {reduction.log_partition, reduction.best};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& output_gradients) {
    const at::Tensor mean_embedding = context->get_saved_variables()[0];
    return {output_gradients[0].unsqueeze(1) * mean_embedding * 2, at::Tensor(), at::Tensor()};
  }
};

}  // namespace

VocabularyScores score_vocabulary(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile,
                                  bool log_partition) {
  if (!log_partition || !vectors.requires_grad() || !c10::GradMode::is_enabled()) {
    const Reduction reduction = reduce_scores(vectors.detach(), codebook.detach(), tile, log_partition, false);
    return {reduction.best, reduction.log_partition};
  }
  const auto outputs = LogPartition::apply(vectors, codebook.detach(), tile);
  return {outputs[1], outputs[0]};
}

}  // namespace leda::models
