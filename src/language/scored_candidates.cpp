#include "language/scored_candidates.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace leda::language {

namespace {

void check(const std::vector<double>& thresholds, std::size_t num_levels, double lowest_score) {
  const bool in_range =
      std::ranges::all_of(thresholds, [&](double rho) { return rho >= lowest_score && rho > 0.0 && rho <= 1.0; });
  if (thresholds.size() == num_levels && in_range) return;
  throw base::ErrorOnAllRanks(
      base::ExitCode::options,
      {.what = "words.thresholds do not fit the token pyramid or the word scores",
       .value = fmt::format("{}", fmt::join(thresholds, ",")),
       .why = fmt::format("{} levels need one threshold each, at most 1; words.scores holds scores from {} on",
                          num_levels, lowest_score),
       .remedy = "use 0.95,0.90,0.80 for three levels, or score the words again with a lower --lowest-score"});
}

at::Tensor index_tensor(std::span<const std::int32_t> tokens, at::Device device) {
  const at::Tensor index = at::empty({static_cast<std::int64_t>(tokens.size())}, at::kInt);
  std::ranges::copy(tokens, index.mutable_data_ptr<std::int32_t>());
  return index.to(device, at::kInt, /*non_blocking=*/true);  // pageable: copied away before this returns
}

}  // namespace

ScoredCandidates::ScoredCandidates(const TissueWords& words, const at::Tensor& codebook,
                                   const CandidateOptions& options, std::size_t num_levels, WordScores scores)
    : codebook_(codebook.detach()),
      thresholds_(options.thresholds),
      restrict_to_tissue_(options.restrict_to_tissue),
      scores_(std::move(scores)),
      term_of_token_(static_cast<std::size_t>(codebook.size(0)), -1) {
  check(thresholds_, num_levels, scores_.lowest_score());
  std::vector<std::int32_t> terms;
  for (const ct::TissueRange& row : ct::kTissues) {
    for (const std::int64_t token : words.tokens_of(row.tissue)) {
      term_of_token_.at(static_cast<std::size_t>(token)) = static_cast<std::int64_t>(terms.size());
      tissue_of_term_.push_back(static_cast<std::int64_t>(row.tissue));
      terms.push_back(static_cast<std::int32_t>(token));
    }
  }
  term_embeddings_ = codebook_.index_select(0, index_tensor(terms, codebook_.device())).to(at::kDouble);
  term_square_norms_ = term_embeddings_.square().sum(1);
}

void ScoredCandidates::place(std::span<const std::int64_t> slice_ids, std::vector<LevelCandidates>& levels) const {
  TORCH_INTERNAL_ASSERT(levels.size() == thresholds_.size(), "one threshold per level");
  for (std::size_t index = 0; index < levels.size(); ++index) {
    if (!levels[index].exists) continue;
    if (restrict_to_tissue_) {
      place_by_tissue(slice_ids, thresholds_[index], levels[index]);
    } else {
      place_by_image(slice_ids, thresholds_[index], levels[index]);
    }
  }
}

// Slice by slice, so that a mean is the same to the last bit in batches of any size.
void ScoredCandidates::place_by_image(std::span<const std::int64_t> slice_ids, double threshold,
                                      LevelCandidates& level) const {
  const auto batch = static_cast<std::int64_t>(slice_ids.size());
  level.weight = at::Tensor();  // of tissues, which have no part in this list
  level.mean_embedding = at::empty({batch, 1, 1, codebook_.size(1)}, codebook_.options());
  level.mean_square_norm = at::empty({batch, 1, 1}, codebook_.options());
  for (std::int64_t image = 0; image < batch; ++image) {
    const auto tokens = scores_.words_of(slice_ids[static_cast<std::size_t>(image)], threshold);
    const at::Tensor rows = codebook_.index_select(0, index_tensor(tokens, codebook_.device())).to(at::kDouble);
    level.mean_embedding[image][0][0].copy_(rows.mean(0));
    level.mean_square_norm[image][0][0].copy_(rows.square().sum(1).mean());
  }
}

at::Tensor ScoredCandidates::chosen_terms(std::int64_t slice_id, double threshold) const {
  const auto num_terms = static_cast<std::int64_t>(tissue_of_term_.size());
  at::Tensor chosen = at::zeros({ct::kNumTissues, num_terms}, at::kDouble);
  double* flags = chosen.mutable_data_ptr<double>();
  std::vector<bool> has_any(ct::kNumTissues, false);
  for (const std::int32_t token : scores_.words_of(slice_id, threshold)) {
    const std::int64_t term = term_of_token_[static_cast<std::size_t>(token)];
    if (term < 0) continue;
    const std::int64_t tissue = tissue_of_term_[static_cast<std::size_t>(term)];
    flags[tissue * num_terms + term] = 1.0;
    has_any[static_cast<std::size_t>(tissue)] = true;
  }
  for (std::int64_t term = 0; term < num_terms; ++term) {
    const std::int64_t tissue = tissue_of_term_[static_cast<std::size_t>(term)];
    if (!has_any[static_cast<std::size_t>(tissue)]) flags[tissue * num_terms + term] = 1.0;
  }
  return chosen;
}

void ScoredCandidates::place_by_tissue(std::span<const std::int64_t> slice_ids, double threshold,
                                       LevelCandidates& level) const {
  const auto batch = static_cast<std::int64_t>(slice_ids.size());
  const std::int64_t rows = level.tissue.size(1);
  const std::int64_t columns = level.tissue.size(2);
  const std::int64_t channels = codebook_.size(1);
  level.mean_embedding = at::empty({batch, rows, columns, channels}, codebook_.options());
  level.mean_square_norm = at::empty({batch, rows, columns}, codebook_.options());
  for (std::int64_t image = 0; image < batch; ++image) {
    const at::Tensor chosen = chosen_terms(slice_ids[static_cast<std::size_t>(image)], threshold)
                                  .to(codebook_.device(), at::kDouble, /*non_blocking=*/true);
    const at::Tensor counts = chosen.sum(1);
    const at::Tensor means = at::matmul(chosen, term_embeddings_) / counts.unsqueeze(1);
    const at::Tensor square_norms = at::matmul(chosen, term_square_norms_) / counts;
    const at::Tensor cells = level.tissue[image].to(at::kLong).reshape({-1});
    level.mean_embedding[image].copy_(means.index_select(0, cells).reshape({rows, columns, channels}));
    level.mean_square_norm[image].copy_(square_norms.index_select(0, cells).reshape({rows, columns}));
  }
}

}  // namespace leda::language
