#include "losses/semantic_loss.hpp"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

namespace leda::losses {
namespace {

constexpr double kLargestFactor = 1e4;

}  // namespace

at::Tensor semantic_loss(const std::vector<models::LevelTokens>& levels,
                         const std::vector<language::LevelCandidates>& candidates,
                         const models::VocabularyMetric& metric) {
  TORCH_INTERNAL_ASSERT(levels.size() == candidates.size(), "candidates for each level");
  at::Tensor sum;
  int num_levels = 0;
  for (std::size_t index = 0; index < levels.size(); ++index) {
    const models::LevelTokens& level = levels[index];
    if (!level.exists) continue;
    const language::LevelCandidates& words = candidates[index];
    const at::Tensor compared = metric.cosine ? models::to_unit_length(level.inputs, -1) : level.inputs;
    const at::Tensor candidate_score = 2 * (compared * words.mean_embedding).sum(-1) - words.mean_square_norm;
    const at::Tensor per_position = level.log_partition - candidate_score / metric.temperature;
    const at::Tensor per_image = (words.weight.defined() ? per_position * words.weight : per_position).mean({1, 2});
    sum = sum.defined() ? sum + per_image : per_image;
    ++num_levels;
  }
  TORCH_INTERNAL_ASSERT(num_levels > 0, "the last level exists on every map");
  return sum / num_levels;
}

at::Tensor scored_codebook(const at::Tensor& codebook, const models::VocabularyMetric& metric) {
  return metric.cosine ? models::to_unit_length(codebook.detach(), 1) : codebook;
}

at::Tensor dynamic_semantic_factor(const at::Tensor& appearance, const at::Tensor& semantic) {
  return (appearance.detach() / semantic.detach()).clamp(0.0, kLargestFactor);
}

}  // namespace leda::losses
