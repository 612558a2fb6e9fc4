#include "language/tissue_match.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/take.h>
#include <ATen/ops/zeros.h>

namespace leda::language {
namespace {

constexpr auto kAirLabel = static_cast<std::int64_t>(ct::Tissue::air);

// Whether each token is a word of its tissue; bool, on the tokens' device.
at::Tensor matches_of(const TissueWords& words, const at::Tensor& tokens, const at::Tensor& tissue) {
  const at::Tensor membership = words.membership().to(tokens.device());
  return at::take(membership, tissue.to(at::kLong) * membership.size(1) + tokens);
}

}  // namespace

at::Tensor tissue_match_counts(const TissueWords& words, const at::Tensor& tokens, const at::Tensor& tissue) {
  const at::Tensor matches = matches_of(words, tokens, tissue);
  const at::Tensor is_body = tissue.ne(kAirLabel);
  const at::Tensor one_each = at::ones_like(tokens);
  return at::stack(
      {matches.sum(at::kLong), one_each.sum(), matches.logical_and(is_body).sum(at::kLong), is_body.sum(at::kLong)});
}

TissueMatchRate tissue_match_rate(const at::Tensor& counts) {
  const at::Tensor values = counts.to(at::kCPU, at::kDouble);
  const double* count = values.const_data_ptr<double>();
  return {.all = count[1] > 0 ? count[0] / count[1] : 0.0, .non_air = count[3] > 0 ? count[2] / count[3] : 0.0};
}

at::Tensor pure_match_counts(const TissueWords& words, const at::Tensor& tokens, const LevelCandidates& level) {
  const at::Tensor is_pure = level.purity.ge(kMinPurity).to(at::kLong).reshape({-1});
  const at::Tensor is_match = matches_of(words, tokens, level.tissue).to(at::kLong).reshape({-1});
  const at::Tensor rows = level.tissue.to(at::kLong).reshape({-1});
  const at::Tensor counts = at::zeros({2, ct::kNumTissues}, is_pure.options());
  counts[0].index_add_(0, rows, is_pure * is_match);
  counts[1].index_add_(0, rows, is_pure);
  return counts.t().contiguous();
}

BalancedMatch balanced_match(const at::Tensor& counts) {
  const at::Tensor values = counts.to(at::kCPU, at::kDouble).contiguous();
  const auto count = values.accessor<double, 2>();
  BalancedMatch balanced;
  for (std::int64_t tissue = 0; tissue < values.size(0); ++tissue) {
    if (tissue == kAirLabel || count[tissue][1] < static_cast<double>(kMinPositions)) continue;
    balanced.share += count[tissue][0] / count[tissue][1];
    ++balanced.num_tissues;
  }
  if (balanced.num_tissues > 0) balanced.share /= balanced.num_tissues;
  return balanced;
}

}  // namespace leda::language
