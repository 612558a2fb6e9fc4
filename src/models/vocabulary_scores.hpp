// Scores of all words for many vectors, a_t(p) = 2 z_p . e_t - |e_t|^2, reduced as they are made: the N x V matrix is
// never stored. Because |z - e|^2 = |z|^2 - a_t, the best score is the nearest embedding, and logsumexp of the scores
// is the normaliser of the semantic loss.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leda::models {

struct VocabularyScores {
  at::Tensor best;           // [N] int64, argmax_t a_t; the lowest index where computed scores are equal
  at::Tensor log_partition;  // [N], log sum_t exp(a_t), differentiable once in `vectors`; undefined if not asked for
};

// vectors [N, C] (N may be 0), codebook [V, C] of the same type, float32 or float64; `tile` words at a time. Matrix
// products run in the full precision of the type unless the process has allowed TF32. No gradient reaches the codebook.
VocabularyScores score_vocabulary(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile,
                                  bool log_partition);

}  // namespace leda::models
