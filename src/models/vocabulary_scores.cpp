#include "models/vocabulary_scores.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
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

constexpr double kSmallestLength = 1e-12;

// What one pass over the vocabulary leaves of N x V scores.
struct Reduction {
  at::Tensor best;            // [N]
  at::Tensor log_partition;   // [N], if asked for
  at::Tensor mean_embedding;  // [N, C], sum_t softmax(a / T)_t e_t, if asked for
};

// In place; a pass over all scores that the usual temperature of 1 does without.
at::Tensor over_temperature(at::Tensor scores, const VocabularyMetric& metric) {
  return metric.temperature == 1.0 ? scores : scores.div_(metric.temperature);
}

// Running maximum m, running sum of exp((a - m) / T) and of exp((a - m) / T) e; the sums are rescaled whenever m grows.
// Cosine: `vectors` have length 1, the words are brought to it tile by tile.
Reduction reduce_scores(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile, bool log_partition,
                        bool mean_embedding, const VocabularyMetric& metric) {
  const std::int64_t num_vectors = vectors.size(0);
  const std::int64_t num_words = codebook.size(0);
  at::Tensor best = at::zeros({num_vectors}, vectors.options().dtype(at::kLong));
  at::Tensor maximum = at::full({num_vectors}, -std::numeric_limits<double>::infinity(), vectors.options());
  at::Tensor sum = at::zeros({num_vectors}, vectors.options());
  at::Tensor weighted = mean_embedding ? at::zeros_like(vectors) : at::Tensor();
  for (std::int64_t first = 0; first < num_words; first += tile) {
    const at::Tensor rows = codebook.slice(0, first, std::min(first + tile, num_words));
    const at::Tensor words = metric.cosine ? to_unit_length(rows, 1) : rows;
    const at::Tensor minus_squares = words.square().sum(1).neg_();
    at::Tensor scores = at::addmm(minus_squares, vectors, words.t(), 1, 2);  // [N, tile]
    const auto [tile_maximum, tile_best] = scores.max(1);
    best = at::where(tile_maximum > maximum, tile_best + first, best);
    const at::Tensor new_maximum = at::maximum(maximum, tile_maximum);
    if (log_partition) {
      const at::Tensor shrink = over_temperature(maximum - new_maximum, metric).exp_();
      over_temperature(scores.sub_(new_maximum.unsqueeze(1)), metric).exp_();
      sum.mul_(shrink).add_(scores.sum(1));
      if (mean_embedding) weighted.mul_(shrink.unsqueeze(1)).addmm_(scores, words);
    }
    maximum = new_maximum;
  }
  Reduction reduction{.best = best, .log_partition = {}, .mean_embedding = {}};
  if (log_partition) reduction.log_partition = maximum / metric.temperature + sum.log();
  if (mean_embedding) reduction.mean_embedding = weighted.div_(sum.unsqueeze(1));
  return reduction;
}

// d log_partition / dz = 2 / T sum_t softmax(a / T)_t e_t. Accumulated beside the scores in the forward pass, it saves
// the backward pass from computing them a second time, at the price of one N x C tensor.
class LogPartition : public torch::autograd::Function<LogPartition> {
 public:
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const at::Tensor& vectors,
                                                const at::Tensor& codebook, std::int64_t tile, bool cosine,
                                                double temperature) {
    const Reduction reduction = reduce_scores(vectors, codebook, tile, true, true, {cosine, temperature});
    context->saved_data["temperature"] = temperature;
    context->save_for_backward({reduction.mean_embedding});
    context->mark_non_differentiable({reduction.best});
    return {reduction.log_partition, reduction.best};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& output_gradients) {
    const at::Tensor mean_embedding = context->get_saved_variables()[0];
    const double slope = 2.0 / context->saved_data["temperature"].toDouble();
    return {output_gradients[0].unsqueeze(1) * mean_embedding * slope, at::Tensor(), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace

at::Tensor to_unit_length(const at::Tensor& vectors, std::int64_t dimension) {
  const at::Tensor lengths = at::linalg_vector_norm(vectors, 2, {dimension}, true);
  return vectors / lengths.masked_fill(lengths.le(kSmallestLength), std::numeric_limits<double>::infinity());
}

VocabularyScores score_vocabulary(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile,
                                  bool log_partition, const VocabularyMetric& metric) {
  const at::Tensor compared = metric.cosine ? to_unit_length(vectors, 1) : vectors;
  if (!log_partition || !compared.requires_grad() || !c10::GradMode::is_enabled()) {
    const Reduction reduction = reduce_scores(compared.detach(), codebook.detach(), tile, log_partition, false, metric);
    return {reduction.best, reduction.log_partition};
  }
  const auto outputs = LogPartition::apply(compared, codebook.detach(), tile, metric.cosine, metric.temperature);
  return {outputs[1], outputs[0]};
}

at::Tensor score_margins(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile,
                         const VocabularyMetric& metric) {
  const c10::AutoGradMode no_gradients(false);
  const at::Tensor compared = metric.cosine ? to_unit_length(vectors, 1) : vectors;
  const std::int64_t num_words = codebook.size(0);
  at::Tensor best_two = at::full({vectors.size(0), 2}, -std::numeric_limits<double>::infinity(), vectors.options());
  for (std::int64_t first = 0; first < num_words; first += tile) {
    const at::Tensor rows = codebook.slice(0, first, std::min(first + tile, num_words));
    const at::Tensor words = metric.cosine ? to_unit_length(rows, 1) : rows;
    const at::Tensor scores = at::addmm(words.square().sum(1).neg_(), compared, words.t(), 1, 2);  // [N, tile]
    const at::Tensor best_of_tile = std::get<0>(scores.topk(std::min<std::int64_t>(2, words.size(0)), 1));
    best_two = std::get<0>(at::cat({best_two, best_of_tile}, 1).topk(2, 1));
  }
  return best_two.select(1, 0) - best_two.select(1, 1);
}

}  // namespace leda::models
