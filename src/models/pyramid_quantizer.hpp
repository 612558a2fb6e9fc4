// The pyramid quantiser: a latent map into tokens of a frozen vocabulary, coarse to fine, each level working on the
// residual of the levels before (SPAE, arXiv 2306.17842, as used by LEDA, arXiv 2403.06128). A pure function of latent,
// codebook and strides; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "models/vocabulary_scores.hpp"

namespace leda::models {

// One level. Where it does not exist on this map size, the tensors are undefined.
struct LevelTokens {
  bool exists = false;
  at::Tensor tokens;         // int64 [B, rows, columns]
  at::Tensor inputs;         // z^l at the level's positions, [B, rows, columns, C], in the graph
  at::Tensor log_partition;  // log sum_t exp(a_t / T) of the inputs, [B, rows, columns], in the graph; if asked for
  at::Tensor margins;  // score of the token minus that of the runner-up, [B, rows, columns], no graph; if asked for
};

struct QuantizedLatent {
  at::Tensor quantized;             // zq, [B, C, h, w], mean of the embeddings chosen at a position; no graph
  at::Tensor straight_through;      // exactly zq in value; its gradient goes to the latent unchanged
  std::vector<LevelTokens> levels;  // one per stride
  at::Tensor commitment;            // [B], sum_l 1/(C h w) sum_{p in M_l} |sg[zhat^{<=l}_p] - z_p|^2, in the graph
};

struct QuantizeRequest {
  bool log_partition = false;  // compute LevelTokens::log_partition
  bool gradients = true;       // false: nothing is in the graph
  bool margins = false;        // compute LevelTokens::margins
  // Divide by the final instead of the running number of levels in the commitment, as the published code does.
  bool final_count_in_commitment = false;
};

// latent [B, C, h, w], B may be 0; codebook [V, C]; `vocabulary_tile` words are scored at a time, by `metric`: it
// decides which word is nearest. Residuals, means and the commitment are of the codebook's rows as they are.
QuantizedLatent quantize_pyramid(const at::Tensor& latent, const at::Tensor& codebook, const std::vector<int>& strides,
                                 std::int64_t vocabulary_tile, const QuantizeRequest& request,
                                 const VocabularyMetric& metric = {});

}  // namespace leda::models
