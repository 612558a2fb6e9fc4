// The semantic loss of stage 1 (LEDA, arXiv 2403.06128, Eq. 7): cross-entropy between the softmax over all words,
// by negative squared distance to a position's latent, and the uniform distribution over its candidate words.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "language/candidate_words.hpp"
#include "models/pyramid_quantizer.hpp"

namespace leda::losses {

// -> [B]: per image the mean over the levels that exist of the mean over the level's positions of
//    logsumexp_t a_t - (2 z . mean e(c) - mean |e(c)|^2),   a_t = 2 z . e(t) - |e(t)|^2,
// c over the position's candidates. Gradients go to z (LevelTokens::inputs), never to the embeddings. B may be 0.
at::Tensor semantic_loss(const std::vector<models::LevelTokens>& levels,
                         const std::vector<language::LevelCandidates>& candidates);

}  // namespace leda::losses
