// How many words an autoencoder uses: a histogram of tokens per pyramid level. A codebook has collapsed when the
// number of distinct tokens is near 1, which no reconstruction error shows. One per log interval; one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leda::language {

class TokenUsage {
 public:
  TokenUsage(std::int64_t num_levels, std::int64_t vocabulary_size, at::Device device = at::kCPU);

  // tokens: int64, any shape, on the device given above. Does not wait for it.
  void add(std::int64_t level, const at::Tensor& tokens);
  void reset();

  // [num_levels, V], int64; shares storage, so summing it over ranks makes this object speak for all ranks.
  at::Tensor counts() const { return counts_; }
  // These two wait for the device.
  std::int64_t num_distinct(std::int64_t level) const;
  // exp of the entropy of the relative frequencies, in nats: between 1 and num_distinct; 0 when nothing was added.
  double perplexity(std::int64_t level) const;
  // Of the vocabulary, not chosen since the last reset.
  std::int64_t num_dead(std::int64_t level) const { return counts_.size(1) - num_distinct(level); }

 private:
  at::Tensor counts_;
};

}  // namespace leda::language
