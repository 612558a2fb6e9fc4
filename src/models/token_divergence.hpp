// How far apart two token distributions over the whole vocabulary are, as a number that moves before any token flips.
// A vector z has the distribution softmax_t(a_t / temperature), a_t = 2 z . e_t - |e_t|^2. Reduced tile by tile: the
// N x V matrices are never stored. Pure; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leda::models {

// -> [N]: KL(distribution of reference || distribution of vectors) in nats, never negative, exactly 0 with a gradient
// of exactly 0 where both rows are equal. vectors, reference [N, C] (N may be 0), codebook [V, C], all float32 or
// float64; temperature > 0; `tile` words at a time. Differentiable once, in `vectors` alone:
// d KL / dz = 2 / temperature (sum_t q_t e_t - sum_t p_t e_t), p of the reference, q of the vectors.
at::Tensor token_divergence(const at::Tensor& vectors, const at::Tensor& reference, const at::Tensor& codebook,
                            double temperature, std::int64_t tile);

}  // namespace leda::models
