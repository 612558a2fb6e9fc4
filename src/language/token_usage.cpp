#include "language/token_usage.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/zeros.h>

#include <cmath>

namespace leda::language {

TokenUsage::TokenUsage(std::int64_t num_levels, std::int64_t vocabulary_size, at::Device device)
    : counts_(at::zeros({num_levels, vocabulary_size}, at::TensorOptions(at::kLong).device(device))) {}

void TokenUsage::add(std::int64_t level, const at::Tensor& tokens) {
  const at::Tensor flat = tokens.detach().reshape({-1});
  counts_[level].scatter_add_(0, flat, at::ones_like(flat));
}

void TokenUsage::reset() { counts_.zero_(); }

std::int64_t TokenUsage::num_distinct(std::int64_t level) const {
  return counts_[level].ne(0).sum().item<std::int64_t>();
}

double TokenUsage::perplexity(std::int64_t level) const {
  const at::Tensor counts = counts_[level].to(at::kCPU, at::kDouble);
  const double total = counts.sum().item<double>();
  if (total == 0.0) return 0.0;
  const at::Tensor shares = counts.masked_select(counts.gt(0)) / total;
  return std::exp(-(shares * shares.log()).sum().item<double>());
}

}  // namespace leda::language
