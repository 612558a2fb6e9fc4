// How often the autoencoder's tokens name what is there: the share of tokens that are terms of their cell's tissue
// (docs/methods/candidate_words.md). Counts are to be summed over batches and ranks; free functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "language/candidate_words.hpp"
#include "language/tissue_words.hpp"

namespace leda::language {

// int64 [4] on the tokens' device: matches, positions, matches where the tissue is not air, positions where it is not
// air. tokens: int64, tissue: uint8 (LevelCandidates::tissue of the same level), equal shapes.
at::Tensor tissue_match_counts(const TissueWords& words, const at::Tensor& tokens, const at::Tensor& tissue);

struct TissueMatchRate {
  double all = 0.0;
  double non_air = 0.0;
};
// Shares of tissue_match_counts; 0 where nothing was counted. Waits for the device.
TissueMatchRate tissue_match_rate(const at::Tensor& counts);

// Of positions whose cell is pure, at least kMinPurity of one tissue: int64 [kNumTissues, 2] on the tokens' device,
// matches and positions of each tissue. tokens: int64 [B, rows, columns], of the level.
inline constexpr double kMinPurity = 0.7;
at::Tensor pure_match_counts(const TissueWords& words, const at::Tensor& tokens, const LevelCandidates& level);

// The mean over tissues of their share of matches, so that the many cells of muscle do not outweigh the few of bone.
// Air is left out (outside of the body it is easy and everywhere), and so is a tissue of fewer than kMinPositions
// positions.
inline constexpr std::int64_t kMinPositions = 50;
struct BalancedMatch {
  double share = 0.0;   // 0 where no tissue has positions enough
  int num_tissues = 0;  // that it is the mean of
};
// Of pure_match_counts. Waits for the device.
BalancedMatch balanced_match(const at::Tensor& counts);

}  // namespace leda::language
