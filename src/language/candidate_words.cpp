#include "language/candidate_words.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/error.hpp"
#include "language/contrast.hpp"

namespace leda::language {

namespace {

using base::ErrorOnAllRanks;
using base::ExitCode;

void check(const CandidateOptions& options, std::size_t num_levels) {
  if (!(options.air_weight >= 0.0)) {
    throw ErrorOnAllRanks(ExitCode::options, {.what = "words.air_weight is negative",
                                              .value = fmt::format("{}", options.air_weight),
                                              .why = "it scales a number of pixels",
                                              .remedy = "use a number from 0 to 1"});
  }
  const bool has_valid_weights =
      std::ranges::all_of(options.tissue_weights, [](double weight) { return weight >= 0.0 && std::isfinite(weight); });
  if (!has_valid_weights || (!options.tissue_weights.empty() && options.tissue_weights.size() != ct::kNumTissues)) {
    throw ErrorOnAllRanks(
        ExitCode::options,
        {.what = "words.tissue_weights are not one weight per tissue",
         .value = fmt::format("{}", fmt::join(options.tissue_weights, ",")),
         .why = "each of air, lung, fat, water, soft, blood, bone, metal needs a finite one of 0 or more",
         .remedy = "use 1,1,1,1,1,1,1,1 with larger numbers for thin tissues, or leave it empty"});
  }
  if (!(options.balance >= 0.0 && options.balance <= 1.0)) {
    throw ErrorOnAllRanks(ExitCode::options, {.what = "words.balance is no power from 0 to 1",
                                              .value = fmt::format("{}", options.balance),
                                              .why = "it weighs cells by the inverse frequency of their tissue",
                                              .remedy = "set words.balance = 0 for none"});
  }
  if (options.placement == CandidatePlacement::position) return;
  const bool in_range = std::ranges::all_of(options.thresholds, [](double rho) { return rho > 0.0 && rho <= 1.0; });
  if (options.thresholds.size() != num_levels || !in_range) {
    throw ErrorOnAllRanks(ExitCode::options,
                          {.what = "words.thresholds do not fit the token pyramid",
                           .value = fmt::format("{}", fmt::join(options.thresholds, ",")),
                           .why = fmt::format("{} levels need one threshold each, above 0 and at most 1", num_levels),
                           .remedy = "use 0.95,0.90,0.80 for three levels"});
  }
}

// Brings a dimension to `size` by cutting off or by appending zeros.
at::Tensor resize_dimension(const at::Tensor& values, std::int64_t dimension, std::int64_t size) {
  const std::int64_t present = values.size(dimension);
  if (present >= size) return values.narrow(dimension, 0, size);
  std::vector<std::int64_t> padding(static_cast<std::size_t>(2 * (values.dim() - dimension)), 0);
  padding.back() = size - present;
  return at::constant_pad_nd(values, padding, 0);
}

// B x H x W x T -> B x rows x columns x T: sums over cells of side x side, absent pixels counting nothing.
at::Tensor sum_cells(const at::Tensor& counts, std::int64_t side, std::int64_t rows, std::int64_t columns) {
  const at::Tensor fitted = resize_dimension(resize_dimension(counts, 1, rows * side), 2, columns * side);
  return fitted.reshape({counts.size(0), rows, side, columns, side, counts.size(3)}).sum({2, 4});
}

// The tissue with most pixels, weighted, and its share of all pixels. cell_counts: B x rows x columns x T.
void find_cell_tissue(const at::Tensor& cell_counts, const std::vector<double>& tissue_weights, double air_weight,
                      LevelCandidates& level) {
  at::Tensor weights = tissue_weights.empty() ? at::ones({ct::kNumTissues}, cell_counts.options())
                                              : at::tensor(tissue_weights, at::kDouble).to(cell_counts.device());
  weights[static_cast<std::int64_t>(ct::Tissue::air)] *= air_weight;
  const at::Tensor tissue = at::argmax(cell_counts * weights, -1, /*keepdim=*/true);
  level.tissue = tissue.squeeze(-1).to(at::kByte);
  level.purity = (cell_counts.gather(-1, tissue) / cell_counts.sum(-1, true)).squeeze(-1);
}

}  // namespace

CandidateWords::CandidateWords(const TissueWords& words, const at::Tensor& codebook, CandidateOptions options,
                               std::vector<int> strides, int downsampling)
    : options_(std::move(options)), strides_(std::move(strides)), downsampling_(downsampling) {
  check(options_, strides_.size());
  // Sums in double: a mean over words is then the same on every device.
  const at::Tensor membership = words.membership().to(codebook.device(), at::kDouble);
  const at::Tensor embeddings = codebook.detach().to(at::kDouble);
  num_words_ = membership.sum(1);
  embedding_sums_ = at::matmul(membership, embeddings);
  square_norm_sums_ = at::matmul(membership, embeddings.square().sum(1));
  result_type_ = codebook.scalar_type();
}

std::vector<LevelCandidates> CandidateWords::of_tissue_maps(const at::Tensor& tissue,
                                                            std::span<const LevelGrid> grids) const {
  TORCH_INTERNAL_ASSERT(grids.size() == strides_.size(), "one grid per level");
  const at::Tensor labels = with_contrast(tissue, options_.contrast).to(num_words_.device(), at::kLong);
  // Pixels per tissue on the finest grid; coarser cells are sums of finer ones.
  const auto ceil_divide = [](std::int64_t value, std::int64_t by) { return (value + by - 1) / by; };
  const at::Tensor one_hot = at::one_hot(labels, ct::kNumTissues);
  const at::Tensor pixel_counts = sum_cells(one_hot, downsampling_, ceil_divide(labels.size(1), downsampling_),
                                            ceil_divide(labels.size(2), downsampling_))
                                      .to(at::kDouble);

  std::vector<LevelCandidates> levels(strides_.size());
  for (std::size_t index = 0; index < levels.size(); ++index) {
    LevelCandidates& level = levels[index];
    level.exists = grids[index].rows > 0 && grids[index].columns > 0;
    if (!level.exists) continue;
    const bool is_last = index + 1 == levels.size();
    const at::Tensor cell_counts = sum_cells(pixel_counts, strides_[index], grids[index].rows, grids[index].columns);
    find_cell_tissue(cell_counts, options_.tissue_weights, is_last ? 1.0 : options_.air_weight, level);
    if (options_.placement == CandidatePlacement::image) {
      place_by_image(pixel_counts.sum({1, 2}), options_.thresholds[index], level);
    } else {
      place_by_position(level);
    }
  }
  return levels;
}

// Of the image alone, so that neither the batch nor the ranks change it.
at::Tensor CandidateWords::position_weights(const at::Tensor& cell_tissue) const {
  const at::Tensor cells = at::one_hot(cell_tissue.to(at::kLong), ct::kNumTissues).to(at::kDouble);
  const at::Tensor num_alike = (cells * cells.sum({1, 2}, true)).sum(-1);
  const at::Tensor weights = num_alike.pow(-options_.balance);
  return (weights / weights.mean({1, 2}, true)).to(result_type_);
}

void CandidateWords::place_by_position(LevelCandidates& level) const {
  if (options_.balance > 0.0) level.weight = position_weights(level.tissue);
  const at::Tensor cell = level.tissue.to(at::kLong);
  const at::Tensor means = (embedding_sums_ / num_words_.unsqueeze(1)).to(result_type_);
  const at::Tensor square_norms = (square_norm_sums_ / num_words_).to(result_type_);
  const std::vector<std::int64_t> shape{cell.size(0), cell.size(1), cell.size(2), means.size(1)};
  level.mean_embedding = means.index_select(0, cell.reshape({-1})).reshape(shape);
  level.mean_square_norm = square_norms.index_select(0, cell.reshape({-1})).reshape(cell.sizes());
}

void CandidateWords::place_by_image(const at::Tensor& pixels, double threshold, LevelCandidates& level) const {
  const at::Tensor scores = pixels / pixels.amax(1, true);
  const at::Tensor chosen = scores.ge(threshold).to(at::kDouble);  // B x T; the largest tissue is always in
  const at::Tensor num_words = at::matmul(chosen, num_words_);
  const std::int64_t batch = pixels.size(0);
  level.mean_embedding = (at::matmul(chosen, embedding_sums_) / num_words.unsqueeze(1))
                             .to(result_type_)
                             .reshape({batch, 1, 1, embedding_sums_.size(1)});
  level.mean_square_norm = (at::matmul(chosen, square_norm_sums_) / num_words).to(result_type_).reshape({batch, 1, 1});
}

}  // namespace leda::language
