// Scores of all words for many vectors, a_t(p) = 2 z_p . e_t - |e_t|^2, reduced as they are made: the N x V matrix is
// never stored. Because |z - e|^2 = |z|^2 - a_t, the best score is the nearest embedding, and logsumexp of the scores,
// divided by the temperature, is the normaliser of the semantic loss. Cosine distance is the same with z and e brought
// to length 1: a_t = 2 cos(z, e_t) - 1.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leda::models {

// How words are compared with a latent.
struct VocabularyMetric {
  bool cosine = false;       // false: Euclidean
  double temperature = 1.0;  // of the softmax over words; the best word does not depend on it
};

struct VocabularyScores {
  at::Tensor best;           // [N] int64, argmax_t a_t; the lowest index where computed scores are equal
  at::Tensor log_partition;  // [N], log sum_t exp(a_t / temperature), differentiable once; undefined if not asked for
};

// Along `dimension` of length 1; zero stays zero, with a gradient of zero. Differentiable.
at::Tensor to_unit_length(const at::Tensor& vectors, std::int64_t dimension);

// vectors [N, C] (N may be 0), codebook [V, C] of the same type, float32 or float64; `tile` words at a time. Matrix
// products run in the full precision of the type unless the process has allowed TF32. No gradient reaches the codebook.
VocabularyScores score_vocabulary(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile,
                                  bool log_partition, const VocabularyMetric& metric = {});

// How far ahead each vector's best word is: its score minus the runner-up's, [N], of the vectors' type, at least 0;
// infinite for a vocabulary of one word. A pass of its own, so that training does not pay for it. No gradients.
at::Tensor score_margins(const at::Tensor& vectors, const at::Tensor& codebook, std::int64_t tile,
                         const VocabularyMetric& metric = {});

}  // namespace leda::models
