#include "losses/semantic_loss.hpp"

#include <ATen/TensorOperators.h>
#include <c10/util/Exception.h>

namespace leda::losses {

at::Tensor semantic_loss(const std::vector<models::LevelTokens>& levels,
                         const std::vector<language::LevelCandidates>& candidates) {
  TORCH_INTERNAL_ASSERT(levels.size() == candidates.size(), "candidates for each level");
  at::Tensor sum;
  int num_levels = 0;
  for (std::size_t index = 0; index < levels.size(); ++index) {
    const models::LevelTokens& level = levels[index];
    if (!level.exists) continue;
    const language::LevelCandidates& words = candidates[index];
    const at::Tensor candidate_score = 2 * (level.inputs * words.mean_embedding).sum(-1) - words.mean_square_norm;
    const at::Tensor per_image = (level.log_partition - candidate_score).mean({1, 2});
    sum = sum.defined() ? sum + per_image : per_image;
    ++num_levels;
  }
  TORCH_INTERNAL_ASSERT(num_levels > 0, "the last level exists on every map");
  return sum / num_levels;
}

}  // namespace leda::losses
