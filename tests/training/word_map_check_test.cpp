#include "training/stages/word_map_check.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>

#include <mutex>
#include <nlohmann/json.hpp>

#include "language/tissue_match.hpp"
#include "language/vocabulary.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"
#include "tests/training/tiny_job.hpp"

namespace leda::training {
namespace {

constexpr auto kBone = static_cast<std::int64_t>(ct::Tissue::bone);

// Word maps of cells of 2 x 2 pixels (and 4, and 8) by an autoencoder that calls everything `bone`: all other words are
// out of reach.
class WordMaps : public testing::Test {
 protected:
  WordMaps() { test::write_tiny_phantoms(folder_.path()); }

  std::vector<WordMapScore> scores(int num_ranks, std::uint64_t seed = 3) const {
    std::vector<WordMapScore> result;
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      const models::TensorSettings settings{at::kDouble, at::kCPU, seed};
      at::Tensor codebook = at::full({vocabulary_.size(), 6}, 100.0, at::kDouble);
      codebook[words_.tokens_of(ct::Tissue::bone).front()] = 0.0;
      const models::Autoencoder autoencoder({.channels = 4,
                                             .multipliers = {1, 2},
                                             .encoder_blocks = 1,
                                             .decoder_blocks = 1,
                                             .norm_groups = 2,
                                             .strides = {4, 2, 1}},
                                            codebook, settings);
      const auto test_slices = data::ShardCatalogue::open(folder_.path() / "test");
      auto own = score_word_maps(autoencoder, settings, words_, {}, ct::window_of("leda"), test_slices, communicator);
      if (communicator.rank() == 0) result = std::move(own);
    });
    return result;
  }

  test::TemporaryFolder folder_;
  language::Vocabulary vocabulary_ = language::load_vocabulary("builtin");
  language::TissueWords words_{vocabulary_};
};

TEST_F(WordMaps, CountWhatTheTokensNameInEveryReading) {
  const auto rows = scores(1);
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0].name, "trained");
  EXPECT_EQ(rows[1].name, "untrained encoder");
  const at::Tensor cells = rows[0].counts.back().select(1, 1);
  EXPECT_GT(cells[kBone].item<std::int64_t>(), 10);
  EXPECT_LE(cells.sum().item<std::int64_t>(), 4 * 32 * 32);
  for (const WordMapScore& row : rows) {
    ASSERT_EQ(row.counts.size(), 3u);
    EXPECT_TRUE(row.counts.back().select(1, 1).equal(cells)) << row.name;
    // One word for all cells: right for the cells of one tissue, or of none.
    const at::Tensor matches = row.counts.back().select(1, 0);
    for (std::int64_t tissue = 0; tissue < ct::kNumTissues; ++tissue) {
      const auto right = matches[tissue].item<std::int64_t>();
      EXPECT_TRUE(right == 0 || right == cells[tissue].item<std::int64_t>()) << row.name;
    }
  }
  for (const int row : {0, 1}) {
    EXPECT_TRUE(rows[row].counts.back()[kBone][0].equal(cells[kBone]));
    EXPECT_TRUE(rows[row].counts.back().select(1, 0).sum().equal(cells[kBone]));
  }
}

// Over many seeds `bone` is read as terms of other tissues, and, among all words, mostly as none.
TEST_F(WordMaps, ShufflesGiveTheTokensOtherWords) {
  int num_wrong_terms = 0, num_no_terms = 0;
  for (std::uint64_t seed = 0; seed < 6; ++seed) {
    const auto rows = scores(1, seed);
    if (rows[3].counts.back()[kBone][0].item<std::int64_t>() == 0) ++num_wrong_terms;
    if (rows[2].counts.back().select(1, 0).sum().item<std::int64_t>() == 0) ++num_no_terms;
  }
  EXPECT_GE(num_wrong_terms, 3);
  EXPECT_GE(num_no_terms, 3);
}

TEST_F(WordMaps, AreTheSameOnAnyNumberOfRanks) {
  const auto one = scores(1), three = scores(3);
  ASSERT_EQ(one.size(), three.size());
  for (std::size_t row = 0; row < one.size(); ++row) {
    for (std::size_t level = 0; level < 3; ++level) {
      EXPECT_TRUE(one[row].counts[level].equal(three[row].counts[level]));
    }
  }
}

TEST_F(WordMaps, JsonHasEveryRowLevelAndTissue) {
  const auto rows = scores(1);
  const auto json = nlohmann::json::parse(word_maps_json(rows));
  EXPECT_EQ(json["pure_share"], language::kMinPurity);
  EXPECT_EQ(json["min_cells"], language::kMinPositions);
  ASSERT_EQ(json["rows"].size(), 4u);
  const auto& level = json["rows"][0]["levels"][2];
  EXPECT_EQ(level["tissues"]["bone"]["cells"], rows[0].counts[2][kBone][1].item<std::int64_t>());
  EXPECT_EQ(level["tissues"]["bone"]["matches"], rows[0].counts[2][kBone][0].item<std::int64_t>());
  EXPECT_EQ(level["tissues"].size(), static_cast<std::size_t>(ct::kNumTissues));
  EXPECT_EQ(level["balanced_match"], language::balanced_match(rows[0].counts[2]).share);
}

}  // namespace
}  // namespace leda::training
