#include "language/scored_candidates.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>

#include "base/error.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/language/tiny_word_scores.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::language {
namespace {

using ct::Tissue;

constexpr std::int64_t kWordChannels = 5;

std::int64_t tissue_label(Tissue tissue) { return static_cast<std::int64_t>(tissue); }

// Three slices: of the first, "lungs" scores 1, "last" 0.9 and "bone" 0.7, then "rib" 0.6; the second has "second"
// alone; the third "first" 1 and "bones" 0.95.
struct ScoredWords {
  Vocabulary vocabulary = test::tiny_vocabulary(kWordChannels);
  TissueWords words{vocabulary};
  at::Tensor codebook = make_codebook(vocabulary, false, at::kDouble);
  test::TemporaryFolder folder;

  std::int64_t token(const std::string& word) const {
    return std::ranges::find(vocabulary.words, word) - vocabulary.words.begin();
  }
  std::int32_t short_token(const std::string& word) const { return static_cast<std::int32_t>(token(word)); }
  WordScores scores() const {
    test::WordScoreContent content{.vocabulary_hash = vocabulary.hash, .lowest_score = 0.6, .offsets = {0, 4, 5, 7}};
    content.tokens = {short_token("lungs"),  short_token("last"),  short_token("bone"), short_token("rib"),
                      short_token("second"), short_token("first"), short_token("bones")};
    content.scores = {1.0F, 0.9F, 0.7F, 0.6F, 1.0F, 1.0F, 0.95F};
    const std::string path = folder.path() / "scores.h5";
    test::write_word_scores(path, content);
    return WordScores::load(path, vocabulary, test::slices_of(content));
  }
  ScoredCandidates candidates(std::vector<double> thresholds, bool restrict_to_tissue) const {
    const std::size_t num_levels = thresholds.size();
    const CandidateOptions options{.source = CandidateSource::scores,
                                   .restrict_to_tissue = restrict_to_tissue,
                                   .thresholds = std::move(thresholds)};
    return {words, codebook, options, num_levels, scores()};
  }
  // Of maps of 4 x 4 pixels on grids of 1 x 1 and 2 x 2 cells.
  std::vector<LevelCandidates> levels_of(const at::Tensor& maps) const {
    return CandidateWords(words, codebook, {.air_weight = 1.0}, {2, 1}, 2)
        .of_tissue_maps(maps, std::vector<LevelGrid>{{1, 1}, {2, 2}});
  }
  void expect_means(const LevelCandidates& level, std::array<std::int64_t, 3> at_position,
                    const std::vector<std::string>& expected) const {
    const auto [image, row, column] = at_position;
    const double count = static_cast<double>(expected.size());
    double square_norm = 0.0;
    for (std::int64_t channel = 0; channel < kWordChannels; ++channel) {
      double mean = 0.0;
      for (const std::string& word : expected) {
        const double value = codebook[token(word)][channel].item<double>();
        mean += value / count;
        square_norm += value * value / count;
      }
      EXPECT_NEAR(level.mean_embedding[image][row][column][channel].item<double>(), mean, 1e-14);
    }
    EXPECT_NEAR(level.mean_square_norm[image][row][column].item<double>(), square_norm, 1e-14);
  }
};

// Bone in the upper left cell, lung in the upper right one, fat below.
at::Tensor three_tissues() {
  at::Tensor map = at::full({1, 4, 4}, tissue_label(Tissue::fat), at::kByte);
  map[0].slice(0, 0, 2).slice(1, 0, 2).fill_(tissue_label(Tissue::bone));
  map[0].slice(0, 0, 2).slice(1, 2, 4).fill_(tissue_label(Tissue::lung));
  return map;
}

TEST(ScoredCandidates, ImageHasAllWordsFromEachLevelsThresholdOn) {
  const ScoredWords setting;
  auto levels = setting.levels_of(three_tissues().repeat({3, 1, 1}));
  setting.candidates({0.9, 0.65}, false).place(std::vector<std::int64_t>{0, 1, 2}, levels);
  ASSERT_EQ(levels[1].mean_embedding.sizes(), (std::vector<std::int64_t>{3, 1, 1, kWordChannels}));
  ASSERT_EQ(levels[1].mean_square_norm.sizes(), (std::vector<std::int64_t>{3, 1, 1}));
  // The float that "last" scores lies below 0.9.
  setting.expect_means(levels[0], {0, 0, 0}, {"lungs"});
  setting.expect_means(levels[1], {0, 0, 0}, {"lungs", "last", "bone"});
  setting.expect_means(levels[0], {1, 0, 0}, {"second"});
  setting.expect_means(levels[1], {1, 0, 0}, {"second"});
  setting.expect_means(levels[0], {2, 0, 0}, {"first", "bones"});
  EXPECT_EQ(levels[1].tissue[0][0][0].item<std::int64_t>(), tissue_label(Tissue::bone)) << "the tissues stay";
}

TEST(ScoredCandidates, RestrictedToTissueTheScoresChooseAmongItsTerms) {
  const ScoredWords setting;
  auto levels = setting.levels_of(three_tissues().repeat({2, 1, 1}));
  setting.candidates({1.0, 0.6}, true).place(std::vector<std::int64_t>{0, 2}, levels);
  ASSERT_EQ(levels[1].mean_embedding.sizes(), (std::vector<std::int64_t>{2, 2, 2, kWordChannels}));
  const std::vector<std::string> fat{"fat", "fatty", "oil", "grease", "butter", "obesity"};
  const std::vector<std::string> lung{"lung", "lungs", "breathing", "respiratory", "breath", "chest"};
  setting.expect_means(levels[0], {0, 0, 0}, fat);  // most pixels; none of its terms is scored: all of them
  setting.expect_means(levels[1], {0, 0, 0}, {"bone", "rib"});
  setting.expect_means(levels[1], {0, 0, 1}, {"lungs"});
  setting.expect_means(levels[1], {0, 1, 0}, fat);
  setting.expect_means(levels[1], {1, 0, 0}, {"bones"});
  setting.expect_means(levels[1], {1, 0, 1}, lung);
}

TEST(ScoredCandidates, WeightsOfTissuesStayWhereTissuesHaveAPart) {
  const ScoredWords setting;
  for (const bool restrict_to_tissue : {false, true}) {
    auto levels = CandidateWords(setting.words, setting.codebook, {.air_weight = 1.0, .balance = 1.0}, {2, 1}, 2)
                      .of_tissue_maps(three_tissues(), std::vector<LevelGrid>{{1, 1}, {2, 2}});
    ASSERT_TRUE(levels[1].weight.defined());
    setting.candidates({0.9, 0.6}, restrict_to_tissue).place(std::vector<std::int64_t>{0}, levels);
    EXPECT_EQ(levels[1].weight.defined(), restrict_to_tissue);
  }
}

TEST(ScoredCandidates, AreAFunctionOfTheSliceWhateverItsBatch) {
  const ScoredWords setting;
  for (const bool restrict_to_tissue : {false, true}) {
    const ScoredCandidates candidates = setting.candidates({0.9, 0.6}, restrict_to_tissue);
    auto together = setting.levels_of(three_tissues().repeat({3, 1, 1}));
    candidates.place(std::vector<std::int64_t>{2, 0, 1}, together);
    auto alone = setting.levels_of(three_tissues());
    candidates.place(std::vector<std::int64_t>{0}, alone);
    for (std::size_t index = 0; index < alone.size(); ++index) {
      EXPECT_TRUE(alone[index].mean_embedding[0].equal(together[index].mean_embedding[1]));
      EXPECT_TRUE(alone[index].mean_square_norm[0].equal(together[index].mean_square_norm[1]));
    }
  }
}

TEST(ScoredCandidates, ImageListsStayUnderFlipsAndPositionsFollowTheTissue) {
  const ScoredWords setting;
  const std::vector<std::int64_t> slice{0};
  const auto placed = [&](const at::Tensor& map, bool restrict_to_tissue) {
    auto levels = setting.levels_of(map);
    setting.candidates({0.9, 0.6}, restrict_to_tissue).place(slice, levels);
    return levels[1].mean_embedding;
  };
  const at::Tensor flipped = three_tissues().flip({2});
  EXPECT_TRUE(placed(three_tissues(), false).equal(placed(flipped, false)));
  EXPECT_TRUE(placed(three_tissues(), true).flip({2}).equal(placed(flipped, true)));
}

TEST(ScoredCandidates, HaveTheCodebooksTypeAndNoGraphAndSkipAbsentLevels) {
  const ScoredWords setting;
  for (const bool restrict_to_tissue : {false, true}) {
    const at::Tensor codebook = setting.codebook.to(at::kFloat).set_requires_grad(true);
    const CandidateOptions options{
        .source = CandidateSource::scores, .restrict_to_tissue = restrict_to_tissue, .thresholds = {0.9, 0.6}};
    const ScoredCandidates candidates(setting.words, codebook, options, 2, setting.scores());
    auto levels = CandidateWords(setting.words, codebook, options, {2, 1}, 2)
                      .of_tissue_maps(three_tissues(), std::vector<LevelGrid>{{0, 0}, {2, 2}});
    candidates.place(std::vector<std::int64_t>{0}, levels);
    EXPECT_FALSE(levels[0].mean_embedding.defined());
    EXPECT_EQ(levels[1].mean_embedding.scalar_type(), at::kFloat);
    EXPECT_EQ(levels[1].mean_square_norm.scalar_type(), at::kFloat);
    EXPECT_FALSE(levels[1].mean_embedding.requires_grad());
    auto none = setting.levels_of(at::zeros({0, 4, 4}, at::kByte));
    candidates.place({}, none);
    EXPECT_EQ(none[1].mean_embedding.size(0), 0);
    EXPECT_EQ(none[1].mean_embedding.size(3), kWordChannels);
  }
}

TEST(ScoredCandidates, ThresholdsThatDoNotFitAreRefused) {
  const ScoredWords setting;
  const auto exit_code = [&](std::vector<double> thresholds, std::size_t num_levels) {
    const CandidateOptions options{.source = CandidateSource::scores, .thresholds = std::move(thresholds)};
    return test::exit_code_of<base::ErrorOnAllRanks>([&] {
      const ScoredCandidates candidates(setting.words, setting.codebook, options, num_levels, setting.scores());
    });
  };
  EXPECT_EQ(exit_code({0.9, 0.6}, 2), base::ExitCode::finished);
  EXPECT_EQ(exit_code({0.9, 0.8}, 3), base::ExitCode::options);
  EXPECT_EQ(exit_code({0.9, 0.5}, 2), base::ExitCode::options);  // below what the file holds
  EXPECT_EQ(exit_code({1.1, 0.8}, 2), base::ExitCode::options);
}

}  // namespace
}  // namespace leda::language
