#include "language/tissue_match.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "tests/language/tiny_vocabulary.hpp"

namespace leda::language {
namespace {

using ct::Tissue;

TEST(TissueMatch, CountsWordsOfTheCellsTissue) {
  const Vocabulary vocabulary = test::tiny_vocabulary();
  const TissueWords words(vocabulary);
  const std::int64_t air = words.tokens_of(Tissue::air)[2];
  const std::int64_t lung = words.tokens_of(Tissue::lung)[0];
  const std::int64_t bone = words.tokens_of(Tissue::bone)[1];
  const auto label = [](Tissue tissue) { return static_cast<std::int64_t>(tissue); };
  // Right, right, wrong in air; right, wrong, no tissue word at all in the body.
  const at::Tensor tokens = at::tensor({air, air, lung, lung, air, std::int64_t{0}}).reshape({1, 2, 3});
  const at::Tensor tissue = at::tensor({label(Tissue::air), label(Tissue::air), label(Tissue::air), label(Tissue::lung),
                                        label(Tissue::bone), label(Tissue::bone)})
                                .to(at::kByte)
                                .reshape({1, 2, 3});
  at::Tensor counts = tissue_match_counts(words, tokens, tissue);
  EXPECT_EQ(counts[0].item<std::int64_t>(), 3);
  EXPECT_EQ(counts[1].item<std::int64_t>(), 6);
  EXPECT_EQ(counts[2].item<std::int64_t>(), 1);
  EXPECT_EQ(counts[3].item<std::int64_t>(), 3);
  // Counts of two ranks add up: one more position, right.
  counts.add_(tissue_match_counts(words, at::tensor({bone}), at::tensor({label(Tissue::bone)}).to(at::kByte)));
  const TissueMatchRate rate = tissue_match_rate(counts);
  EXPECT_DOUBLE_EQ(rate.all, 4.0 / 7.0);
  EXPECT_DOUBLE_EQ(rate.non_air, 2.0 / 4.0);
}

TEST(TissueMatch, NothingCountedGivesZero) {
  const TissueWords words(test::tiny_vocabulary());
  const at::Tensor counts =
      tissue_match_counts(words, at::empty({0, 4, 4}, at::kLong), at::empty({0, 4, 4}, at::kByte));
  EXPECT_EQ(counts.sum().item<std::int64_t>(), 0);
  EXPECT_EQ(tissue_match_rate(counts).all, 0.0);
  EXPECT_EQ(tissue_match_rate(counts).non_air, 0.0);
}

// Two cells of 10 x 10 pixels: 70 % of the first is bone, less than that of the second.
TEST(PureMatch, CountsCellsOfOneTissueByTissue) {
  const Vocabulary vocabulary = test::tiny_vocabulary();
  const TissueWords words(vocabulary);
  const CandidateWords candidates(words, vocabulary.embeddings, {}, {1}, 10);
  at::Tensor tissue = at::full({1, 10, 20}, static_cast<std::int64_t>(Tissue::fat), at::kByte);
  tissue.slice(1, 0, 7).slice(2, 0, 10).fill_(static_cast<std::int64_t>(Tissue::bone));
  tissue.slice(1, 0, 6).slice(2, 10, 20).fill_(static_cast<std::int64_t>(Tissue::bone));
  const std::vector<LevelGrid> grids{{1, 2}};
  const LevelCandidates level = candidates.of_tissue_maps(tissue, grids).front();
  EXPECT_DOUBLE_EQ(level.purity[0][0][0].item<double>(), 0.7);
  EXPECT_DOUBLE_EQ(level.purity[0][0][1].item<double>(), 0.6);
  const std::int64_t bone = words.tokens_of(Tissue::bone)[1];
  const std::int64_t fat = words.tokens_of(Tissue::fat)[0];
  const auto counts_of = [&](std::int64_t first) {
    return pure_match_counts(words, at::tensor({first, bone}).reshape({1, 1, 2}), level);
  };
  at::Tensor expected = at::zeros({ct::kNumTissues, 2}, at::kLong);
  expected[static_cast<std::int64_t>(Tissue::bone)][1] = 1;
  EXPECT_TRUE(counts_of(fat).equal(expected));
  expected[static_cast<std::int64_t>(Tissue::bone)][0] = 1;
  EXPECT_TRUE(counts_of(bone).equal(expected));
}

TEST(BalancedMatch, IsTheMeanOverTissuesWithEnoughPositionsAndWithoutAir) {
  at::Tensor counts = at::zeros({ct::kNumTissues, 2}, at::kLong);
  const auto set = [&](Tissue tissue, std::int64_t matches, std::int64_t positions) {
    counts[static_cast<std::int64_t>(tissue)][0] = matches;
    counts[static_cast<std::int64_t>(tissue)][1] = positions;
  };
  EXPECT_EQ(balanced_match(counts).share, 0.0);
  EXPECT_EQ(balanced_match(counts).num_tissues, 0);
  set(Tissue::air, 900, 900);
  set(Tissue::soft, 900, 1000);
  set(Tissue::bone, 25, 50);
  set(Tissue::metal, 49, 49);
  EXPECT_DOUBLE_EQ(balanced_match(counts).share, (0.9 + 0.5) / 2);
  EXPECT_EQ(balanced_match(counts).num_tissues, 2);
}

}  // namespace
}  // namespace leda::language
