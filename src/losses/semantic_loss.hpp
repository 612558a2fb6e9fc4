// The semantic loss of stage 1 (LEDA, arXiv 2403.06128, Eq. 7): cross-entropy between the softmax over all words,
// by negative squared distance to a position's latent, and the uniform distribution over its candidate words.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

#include "language/candidate_words.hpp"
#include "models/pyramid_quantizer.hpp"

namespace leda::losses {

// -> [B]: per image the mean over the levels that exist of the mean over the level's positions of
//    logsumexp_t a_t / T - (2 z . mean e(c) - mean |e(c)|^2) / T,   a_t = 2 z . e(t) - |e(t)|^2,
// c over the position's candidates, T the metric's temperature; with cosine distance z and e stand for z / |z| and
// e / |e| (the candidates are then of such a codebook: scored_codebook). Positions count by their
// LevelCandidates::weight where there is one. Gradients go to z (LevelTokens::inputs), never to the embeddings. B may
// be 0.
at::Tensor semantic_loss(const std::vector<models::LevelTokens>& levels,
                         const std::vector<language::LevelCandidates>& candidates,
                         const models::VocabularyMetric& metric = {});

// The rows as the metric compares them: of length 1 with cosine distance.
at::Tensor scored_codebook(const at::Tensor& codebook, const models::VocabularyMetric& metric);

// SPAE's dynamic weight (arXiv 2306.17842): sg[appearance / semantic], both [B]. Each image has its own: neither the
// number of ranks nor that of micro-batches changes it. At most 1e4, so that a semantic loss near 0 is no infinite
// weight.
at::Tensor dynamic_semantic_factor(const at::Tensor& appearance, const at::Tensor& semantic);

}  // namespace leda::losses
