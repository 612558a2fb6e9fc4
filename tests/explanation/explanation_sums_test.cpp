#include "explanation/explanation_sums.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace leda::explanation {
namespace {

const double kUnknown = std::numeric_limits<double>::quiet_NaN();

// Low dose, denoised and normal dose of 2 x 1 positions at level 2; level 1 is absent.
SliceWords slice_words(std::int64_t id, double match) {
  LevelOfSlice level{.exists = true, .cell_pixels = 16, .rows = 2, .columns = 1};
  level.words = {{{7, 2, 1.0}}, {{7, 1, 0.25}, {9, 1, 4.0}}, {{9, 2, 3.0}}};
  level.agreement = {{match, kUnknown, 0.5, 1.0}, {match + 0.25, 0.5, 1.0, 0.0}};
  level.changes = {{{7, 9, 1, 0}}, {{7, 9, 0, 0}}};
  level.tissue = {{1, 2, 0, 1}, {2, 2, 1, 1}, {2, 2, 1, 1}};
  return {.slice_id = id, .levels = {{}, level}};
}

Explanation three_slices(std::int64_t max_positions) {
  ExplanationSums sums({"low dose", "denoised", "normal dose"}, {1, 2}, max_positions);
  sums.add(slice_words(3, 0.5), "A");
  sums.add(slice_words(4, 0.25), "A");
  sums.add(slice_words(8, 0.0), "B");
  return sums.result();
}

TEST(ExplanationSums, AddWordsMarginsAndPatients) {
  const Explanation explanation = three_slices(10);
  EXPECT_EQ(explanation.slice_ids, (std::vector<std::int64_t>{3, 4, 8}));
  EXPECT_EQ(explanation.patients, (std::vector<std::string>{"A", "B"}));
  ASSERT_EQ(explanation.levels.size(), 1u) << "an absent level is left out";
  const LevelExplanation& level = explanation.levels.front();
  EXPECT_EQ(level.level, 2) << "and the others keep their numbers";
  EXPECT_EQ(level.num_positions, 6);
  ASSERT_EQ(level.words.size(), 2u);
  EXPECT_EQ(level.words[0].token, 7) << "of equal counts, 9 each, the lower token";
  EXPECT_EQ(level.words[0].counts, (std::vector<std::int64_t>{6, 3, 0}));
  EXPECT_DOUBLE_EQ(level.words[0].margins[0], 0.5);
  EXPECT_DOUBLE_EQ(level.words[0].margins[1], 0.25);
  EXPECT_TRUE(std::isnan(level.words[0].margins[2]));
  EXPECT_DOUBLE_EQ(level.words[1].margins[2], 1.5);
}

TEST(ExplanationSums, StatisticsOfAgreementAreThoseOfPatients) {
  const LevelExplanation level = three_slices(10).levels.front();
  ASSERT_EQ(level.agreement.size(), 2u);
  const AgreementRow& row = level.agreement[0];
  EXPECT_DOUBLE_EQ(row.mean.match_rate, 0.25);
  ASSERT_EQ(row.by_patient.size(), 2u);
  EXPECT_DOUBLE_EQ(row.by_patient[0].mean.match_rate, 0.375);
  EXPECT_EQ(row.by_patient[0].num_slices, 2);
  EXPECT_DOUBLE_EQ(row.by_patient[1].mean.match_rate, 0.0);
  EXPECT_NEAR(row.deviation_over_patients.match_rate, 0.375 / std::sqrt(2.0), 1e-15);
  EXPECT_TRUE(std::isnan(row.mean.body_match_rate));
  EXPECT_DOUBLE_EQ(level.agreement[1].mean.body_match_rate, 0.5);
  ASSERT_TRUE(level.gain);
  EXPECT_EQ(level.gain->unit, "slices");
  EXPECT_DOUBLE_EQ(level.gain->match_rate.mean, 0.25);
  EXPECT_DOUBLE_EQ(level.gain->match_rate.low, 0.25) << "the same in every slice";
  ASSERT_EQ(level.tissue.size(), 3u);
  EXPECT_DOUBLE_EQ(level.tissue[0].all, 0.5);
  EXPECT_DOUBLE_EQ(level.tissue[0].non_air, 0.0);
  EXPECT_DOUBLE_EQ(level.tissue[1].non_air, 1.0);
}

TEST(ExplanationSums, ChangesAreCountedInFullAndPlacedUpToALimit) {
  const LevelExplanation level = three_slices(2).levels.front();
  ASSERT_EQ(level.changes.size(), 2u);
  EXPECT_EQ(level.changes[0].from_image, "low dose");
  EXPECT_EQ(level.changes[0].to_image, "denoised");
  EXPECT_EQ(level.changes[1].to_image, "normal dose");
  EXPECT_EQ(level.changes[0].num_changed, 3);
  ASSERT_EQ(level.changes[0].rows.size(), 1u);
  const ChangeRow& row = level.changes[0].rows[0];
  EXPECT_EQ(row.from, 7);
  EXPECT_EQ(row.to, 9);
  EXPECT_EQ(row.count, 3);
  EXPECT_EQ(row.num_slices, 3);
  EXPECT_EQ(row.positions, (std::vector<std::array<std::int64_t, 3>>{{3, 1, 0}, {4, 1, 0}}));
}

TEST(SliceWords, SurviveTheWayBetweenRanksToTheLastBit) {
  SliceWords sent = slice_words(5, 1.0 / 3.0);
  sent.levels[1].words[0][0].margin_sum = 0.1 + 0.2;
  sent.levels[1].words[2][0].margin_sum = std::numeric_limits<double>::infinity();
  const SliceWords received = slice_words_of(to_bytes(sent));
  EXPECT_EQ(received.slice_id, 5);
  ASSERT_EQ(received.levels.size(), 2u);
  EXPECT_FALSE(received.levels[0].exists);
  const LevelOfSlice& level = received.levels[1];
  EXPECT_EQ(level.cell_pixels, 16);
  EXPECT_EQ(level.words[0][0].margin_sum, 0.1 + 0.2);
  EXPECT_TRUE(std::isinf(level.words[2][0].margin_sum));
  EXPECT_EQ(level.words[1][1].token, 9);
  EXPECT_EQ(level.agreement[0].match_rate, 1.0 / 3.0);
  EXPECT_TRUE(std::isnan(level.agreement[0].body_match_rate));
  EXPECT_EQ(level.changes[1][0].to, 9);
  EXPECT_EQ(level.tissue, sent.levels[1].tissue);
  EXPECT_EQ(slice_words_of(to_bytes({})).slice_id, -1);
}

}  // namespace
}  // namespace leda::explanation
