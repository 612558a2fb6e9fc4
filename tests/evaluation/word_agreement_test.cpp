#include "evaluation/word_agreement.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace leda::evaluation {
namespace {

LevelWords level_of(const std::vector<std::int64_t>& tokens, std::int64_t rows, std::int64_t cell_pixels = 16) {
  return {.exists = true,
          .cell_pixels = cell_pixels,
          .tokens = at::tensor(tokens, at::kLong).reshape({rows, -1}),
          .margins = at::zeros({rows, static_cast<std::int64_t>(tokens.size()) / rows}, at::kDouble)};
}

// Word t is t times the unit vector of the only axis.
const at::Tensor kCodebook = at::tensor({0.0, 1.0, 2.0, 3.0, 10.0}, at::kDouble).unsqueeze(1);

TEST(WordAgreement, EqualsNumbersCountedByHand) {
  const LevelWords image = level_of({0, 0, 1, 4, 2, 3}, 2);
  const LevelWords reference = level_of({0, 1, 1, 4, 2, 0}, 2);
  const at::Tensor in_body = at::tensor({0, 1, 1, 0, 0, 1}, at::kLong).reshape({2, 3}).to(at::kBool);
  const WordAgreement found = word_agreement(image, reference, kCodebook, in_body, 2);
  EXPECT_DOUBLE_EQ(found.match_rate, 4.0 / 6.0);
  EXPECT_DOUBLE_EQ(found.body_match_rate, 1.0 / 3.0);
  // Top two: image 0 (twice), then 1 as the lowest of those that occur once; reference 0 and 1.
  EXPECT_DOUBLE_EQ(found.top_word_overlap, 1.0);
  EXPECT_DOUBLE_EQ(found.embedding_distance, (1.0 + 3.0) / 6.0);
  // Top three: image 0, 1, 2; reference 0, 1, 2. Top four: image 0, 1, 2, 3; reference 0, 1, 2, 4.
  EXPECT_DOUBLE_EQ(word_agreement(image, reference, kCodebook, in_body, 4).top_word_overlap, 3.0 / 4.0);
  // All words: image 0, 1, 2, 3, 4, reference 0, 1, 2, 4: divided by the longer list.
  EXPECT_DOUBLE_EQ(word_agreement(image, reference, kCodebook, in_body, 9).top_word_overlap, 4.0 / 5.0);
}

TEST(WordAgreement, OfAnImageWithItselfIsPerfectAndWithoutBodyUnknown) {
  const LevelWords image = level_of({0, 3, 1, 4}, 2);
  const WordAgreement found = word_agreement(image, image, kCodebook, at::zeros({2, 2}, at::kBool), 3);
  EXPECT_EQ(found.match_rate, 1.0);
  EXPECT_TRUE(std::isnan(found.body_match_rate));
  EXPECT_EQ(found.top_word_overlap, 1.0);
  EXPECT_EQ(found.embedding_distance, 0.0);
}

TEST(WordAgreement, ChangesComeRowByRow) {
  const std::vector<ChangedWord> changes = changed_words(level_of({1, 2, 3, 4}, 2), level_of({1, 0, 3, 2}, 2));
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].from, 2);
  EXPECT_EQ(changes[0].to, 0);
  EXPECT_EQ(changes[0].row, 0);
  EXPECT_EQ(changes[0].column, 1);
  EXPECT_EQ(changes[1].from, 4);
  EXPECT_EQ(changes[1].row, 1);
}

TEST(WordAgreement, MeansLeaveOutSlicesWithoutBody) {
  const double unknown = std::numeric_limits<double>::quiet_NaN();
  const WordAgreement found = mean_agreement({{0.5, 0.25, 1.0, 2.0}, {1.0, unknown, 0.0, 4.0}});
  EXPECT_DOUBLE_EQ(found.match_rate, 0.75);
  EXPECT_DOUBLE_EQ(found.body_match_rate, 0.25);
  EXPECT_DOUBLE_EQ(found.embedding_distance, 3.0);
  EXPECT_TRUE(std::isnan(mean_agreement({{1.0, unknown, 1.0, 1.0}}).body_match_rate));
}

TEST(WordAgreement, ACellIsInTheBodyIfHalfOfItsPixelsAre) {
  at::Tensor body = at::zeros({6, 8}, at::kByte);
  body.slice(0, 0, 4).slice(1, 0, 2) = 1;  // half of the first cell
  body.slice(0, 4, 6).slice(1, 4, 7) = 1;  // 6 of the 8 pixels that the image has of the last cell
  const at::Tensor inside = cells_in_body(body, level_of({0, 0, 0, 0}, 2, 4));
  EXPECT_TRUE(inside[0][0].item<bool>());
  EXPECT_FALSE(inside[0][1].item<bool>());
  EXPECT_FALSE(inside[1][0].item<bool>());
  EXPECT_TRUE(inside[1][1].item<bool>());
}

}  // namespace
}  // namespace leda::evaluation
