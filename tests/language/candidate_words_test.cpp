#include "language/candidate_words.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/support/refusal.hpp"

namespace leda::language {
namespace {

using ct::Tissue;

constexpr std::int64_t kChannels = 5;

std::int64_t label(Tissue tissue) { return static_cast<std::int64_t>(tissue); }

struct Setting {
  Vocabulary vocabulary = test::tiny_vocabulary(kChannels);
  TissueWords words{vocabulary};
  at::Tensor codebook = make_codebook(vocabulary, false, at::kDouble);

  CandidateWords candidates(const CandidateOptions& options, std::vector<int> strides, int downsampling) const {
    return {words, codebook, options, std::move(strides), downsampling};
  }
  // Mean embedding, then mean squared norm, over the words of some tissues, word by word.
  std::vector<double> mean_over(const std::vector<Tissue>& tissues) const {
    std::vector<double> sums(kChannels + 1, 0.0);
    double count = 0.0;
    for (const Tissue tissue : tissues) {
      for (const std::int64_t token : words.tokens_of(tissue)) {
        for (std::int64_t channel = 0; channel < kChannels; ++channel) {
          const double value = codebook[token][channel].item<double>();
          sums[static_cast<std::size_t>(channel)] += value;
          sums.back() += value * value;
        }
        count += 1.0;
      }
    }
    for (double& sum : sums) sum /= count;
    return sums;
  }
};

void expect_means(const LevelCandidates& level, std::array<std::int64_t, 3> at_position,
                  const std::vector<double>& expected, double tolerance = 1e-14) {
  const auto [image, row, column] = at_position;
  for (std::int64_t channel = 0; channel < kChannels; ++channel) {
    EXPECT_NEAR(level.mean_embedding[image][row][column][channel].item<double>(),
                expected[static_cast<std::size_t>(channel)], tolerance);
  }
  EXPECT_NEAR(level.mean_square_norm[image][row][column].item<double>(), expected.back(), tolerance);
}

// Tissue with most pixels in rows [top, top + side) x columns [left, left + side), pixel by pixel.
Tissue majority(const at::Tensor& map, std::int64_t top, std::int64_t left, std::int64_t side, double air_weight) {
  std::array<double, ct::kNumTissues> votes{};
  for (std::int64_t row = top; row < std::min(top + side, map.size(0)); ++row) {
    for (std::int64_t column = left; column < std::min(left + side, map.size(1)); ++column) {
      votes[map[row][column].item<std::uint8_t>()] += 1.0;
    }
  }
  votes[0] *= air_weight;
  return static_cast<Tissue>(std::ranges::max_element(votes) - votes.begin());
}

at::Tensor patchy_map(std::int64_t images, std::int64_t height, std::int64_t width) {
  at::Tensor map = at::empty({images, height, width}, at::kByte);
  std::uint8_t* value = map.mutable_data_ptr<std::uint8_t>();
  base::KeyedRandom random({17});
  for (std::int64_t index = 0; index < map.numel(); ++index) {
    // Half the pixels are air, the others follow bands of 7 pixels with disturbances.
    const bool is_air = random.uniform() < 0.5;
    value[index] = static_cast<std::uint8_t>(is_air ? 0 : random.uniform() < 0.3 ? random.below(8) : (index / 7) % 8);
  }
  return map;
}

TEST(PositionCandidates, EachCellsMajorityTissueCountedPixelByPixel) {
  const Setting setting;
  const std::vector<int> strides{4, 2, 1};
  const int downsampling = 2;
  const CandidateWords candidates = setting.candidates({.air_weight = 0.2}, strides, downsampling);
  // Map 6 x 5: the coarse cells of row 1 reach beyond the image of 12 x 10 and are cut off.
  const at::Tensor map = patchy_map(2, 12, 10);
  const std::vector<LevelGrid> grids{{2, 1}, {3, 3}, {6, 5}};
  const auto levels = candidates.of_tissue_maps(map, grids);
  ASSERT_EQ(levels.size(), 3u);
  for (std::size_t index = 0; index < 3; ++index) {
    ASSERT_TRUE(levels[index].exists);
    EXPECT_EQ(levels[index].mean_embedding.sizes(),
              (std::vector<std::int64_t>{2, grids[index].rows, grids[index].columns, kChannels}));
    const std::int64_t side = strides[index] * downsampling;
    for (std::int64_t image = 0; image < 2; ++image) {
      for (std::int64_t row = 0; row < grids[index].rows; ++row) {
        for (std::int64_t column = 0; column < grids[index].columns; ++column) {
          const Tissue expected = majority(map[image], row * side, column * side, side, index == 2 ? 1.0 : 0.2);
          EXPECT_EQ(levels[index].tissue[image][row][column].item<std::uint8_t>(), label(expected));
          expect_means(levels[index], {image, row, column}, setting.mean_over({expected}));
        }
      }
    }
  }
}

TEST(PositionCandidates, AirCountsLessAtAllButTheLastLevel) {
  const Setting setting;
  // One latent position of 4 x 4 pixels per cell, seen by two levels of stride 2 and 1.
  at::Tensor map = at::zeros({1, 8, 8}, at::kByte);
  map[0].slice(0, 0, 2).slice(1, 0, 8).fill_(label(Tissue::bone));  // 16 of 64 pixels, 8 of 16 in the upper cells
  map[0].slice(0, 2, 3).slice(1, 0, 2).fill_(label(Tissue::fat));
  const std::vector<LevelGrid> grids{{1, 1}, {2, 2}};
  const auto levels = setting.candidates({.air_weight = 0.2}, {2, 1}, 4).of_tissue_maps(map, grids);
  // 46 air pixels count 9.2 against 16 of bone.
  EXPECT_EQ(levels[0].tissue[0][0][0].item<std::uint8_t>(), label(Tissue::bone));
  EXPECT_EQ(levels[1].tissue[0][0][0].item<std::uint8_t>(), label(Tissue::bone));  // 8 bone, 6 air, 2 fat
  EXPECT_EQ(levels[1].tissue[0][0][1].item<std::uint8_t>(), label(Tissue::air));   // 8 and 8: the lower label
  EXPECT_EQ(levels[1].tissue[0][1][0].item<std::uint8_t>(), label(Tissue::air));
  const auto unweighted = setting.candidates({.air_weight = 1.0}, {2, 1}, 4).of_tissue_maps(map, grids);
  EXPECT_EQ(unweighted[0].tissue[0][0][0].item<std::uint8_t>(), label(Tissue::air));
}

TEST(PositionCandidates, CellOfAirAloneIsAirWhateverItsWeight) {
  const Setting setting;
  const auto levels = setting.candidates({.air_weight = 0.0}, {2, 1}, 4)
                          .of_tissue_maps(at::zeros({1, 8, 8}, at::kByte), std::vector<LevelGrid>{{1, 1}, {2, 2}});
  EXPECT_EQ(levels[0].tissue.sum().item<std::int64_t>(), 0);
}

// A slice of 10 x 20 pixels: 60 soft, 56 air, 50 fat, 34 bone. Divided by the largest: 1, 0.933, 0.833, 0.567.
at::Tensor four_tissues() {
  at::Tensor map = at::full({200}, label(Tissue::bone), at::kByte);
  map.slice(0, 0, 60).fill_(label(Tissue::soft));
  map.slice(0, 60, 116).fill_(label(Tissue::air));
  map.slice(0, 116, 166).fill_(label(Tissue::fat));
  return map.reshape({1, 10, 20});
}

TEST(ImageCandidates, TissuesWhoseShareReachesTheThreshold) {
  const Setting setting;
  const CandidateWords candidates = setting.candidates({.placement = CandidatePlacement::image}, {4, 2, 1}, 2);
  const auto levels = candidates.of_tissue_maps(four_tissues(), std::vector<LevelGrid>{{1, 3}, {3, 5}, {5, 10}});
  ASSERT_EQ(levels[0].mean_embedding.sizes(), (std::vector<std::int64_t>{1, 1, 1, kChannels}));
  ASSERT_EQ(levels[0].mean_square_norm.sizes(), (std::vector<std::int64_t>{1, 1, 1}));
  expect_means(levels[0], {0, 0, 0}, setting.mean_over({Tissue::soft}));
  expect_means(levels[1], {0, 0, 0}, setting.mean_over({Tissue::soft, Tissue::air}));
  expect_means(levels[2], {0, 0, 0}, setting.mean_over({Tissue::soft, Tissue::air, Tissue::fat}));
  EXPECT_EQ(levels[2].tissue.sizes(), (std::vector<std::int64_t>{1, 5, 10}));
}

TEST(ImageCandidates, EachSliceHasItsOwn) {
  const Setting setting;
  const CandidateWords candidates =
      setting.candidates({.placement = CandidatePlacement::image, .thresholds = {0.95}}, {1}, 2);
  at::Tensor maps = at::full({2, 10, 20}, label(Tissue::lung), at::kByte);
  maps[1].copy_(four_tissues()[0]);
  const auto levels = candidates.of_tissue_maps(maps, std::vector<LevelGrid>{{5, 10}});
  expect_means(levels[0], {0, 0, 0}, setting.mean_over({Tissue::lung}));
  expect_means(levels[0], {1, 0, 0}, setting.mean_over({Tissue::soft}));
}

TEST(PositionCandidates, AHeavierTissueTakesItsCellFromALargerOne) {
  const Setting setting;
  at::Tensor tissue = at::full({1, 4, 4}, label(Tissue::soft), at::kByte);
  tissue.slice(1, 0, 1) = label(Tissue::bone);  // 4 of 16 pixels
  const auto cell_with = [&](std::vector<double> weights) {
    const CandidateWords words = setting.candidates({.tissue_weights = std::move(weights)}, {1}, 4);
    return words.of_tissue_maps(tissue, std::vector<LevelGrid>{{1, 1}})[0].tissue.item<std::int64_t>();
  };
  EXPECT_EQ(cell_with({}), label(Tissue::soft));
  EXPECT_EQ(cell_with({1, 1, 1, 1, 1, 1, 2.9, 1}), label(Tissue::soft));
  EXPECT_EQ(cell_with({1, 1, 1, 1, 1, 1, 3.1, 1}), label(Tissue::bone));
}

// 12 cells of soft tissue and 4 of bone: with balance b each weighs 12^-b or 4^-b, times what makes the mean 1.
TEST(PositionCandidates, BalanceWeighsCellsByTheInverseNumberOfTheirTissue) {
  const Setting setting;
  at::Tensor tissue = at::full({2, 8, 8}, label(Tissue::soft), at::kByte);
  tissue[0].slice(0, 0, 2) = label(Tissue::bone);
  const std::vector<LevelGrid> grids{{4, 4}};
  const auto weights = [&](double balance) {
    return setting.candidates({.balance = balance}, {1}, 2).of_tissue_maps(tissue, grids)[0].weight;
  };
  EXPECT_FALSE(weights(0.0).defined());
  const at::Tensor full = weights(1.0), half = weights(0.5);
  EXPECT_NEAR(full[0][0][0].item<double>(), 2.0, 1e-12);        // 4 cells share half of 16
  EXPECT_NEAR(full[0][1][0].item<double>(), 2.0 / 3.0, 1e-12);  // 12 the other
  EXPECT_NEAR(half[0][0][0].item<double>() / half[0][1][0].item<double>(), std::sqrt(3.0), 1e-12);
  EXPECT_NEAR(half[0].mean().item<double>(), 1.0, 1e-12);
  EXPECT_NEAR((full[1] - 1.0).abs().max().item<double>(), 0.0, 1e-12);  // one tissue alone; of its own image only
}

TEST(PositionCandidates, WithoutContrastBloodIsCalledBone) {
  const Setting setting;
  const at::Tensor tissue = at::full({1, 4, 4}, label(Tissue::blood), at::kByte);
  const CandidateWords words = setting.candidates({.contrast = Contrast::none}, {1}, 4);
  const LevelCandidates level = words.of_tissue_maps(tissue, std::vector<LevelGrid>{{1, 1}})[0];
  EXPECT_EQ(level.tissue.item<std::int64_t>(), label(Tissue::bone));
  expect_means(level, {0, 0, 0}, setting.mean_over({Tissue::bone}));
}

TEST(CandidateWords, AbsentLevelsAreSkipped) {
  const Setting setting;
  for (const CandidatePlacement placement : {CandidatePlacement::position, CandidatePlacement::image}) {
    const CandidateWords candidates = setting.candidates({.placement = placement}, {16, 4, 1}, 2);
    const auto levels = candidates.of_tissue_maps(patchy_map(1, 8, 8), std::vector<LevelGrid>{{0, 0}, {1, 1}, {4, 4}});
    EXPECT_FALSE(levels[0].exists);
    EXPECT_FALSE(levels[0].mean_embedding.defined());
    EXPECT_TRUE(levels[1].exists);
    EXPECT_TRUE(levels[2].exists);
  }
}

TEST(CandidateWords, BatchWithoutSamplesHasNoCandidates) {
  const Setting setting;
  for (const CandidatePlacement placement : {CandidatePlacement::position, CandidatePlacement::image}) {
    const CandidateWords candidates = setting.candidates({.placement = placement}, {4, 2, 1}, 2);
    const auto levels =
        candidates.of_tissue_maps(at::empty({0, 8, 8}, at::kByte), std::vector<LevelGrid>{{1, 1}, {2, 2}, {4, 4}});
    for (const LevelCandidates& level : levels) {
      EXPECT_EQ(level.mean_embedding.size(0), 0);
      EXPECT_EQ(level.mean_embedding.size(3), kChannels);
      EXPECT_EQ(level.mean_square_norm.size(0), 0);
    }
  }
}

TEST(CandidateWords, HaveTheCodebooksTypeAndNoGraph) {
  const Setting setting;
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor codebook = setting.codebook.to(type).clone().set_requires_grad(true);
    const CandidateWords candidates(setting.words, codebook, {}, {1}, 2);
    const auto levels = candidates.of_tissue_maps(patchy_map(1, 4, 4), std::vector<LevelGrid>{{2, 2}});
    EXPECT_EQ(levels[0].mean_embedding.scalar_type(), type);
    EXPECT_EQ(levels[0].mean_square_norm.scalar_type(), type);
    EXPECT_FALSE(levels[0].mean_embedding.requires_grad());
  }
}

TEST(CandidateWords, WrongOptionsAreRefused) {
  const Setting setting;
  const auto exit_code = [&](const CandidateOptions& options) {
    return test::exit_code_of([&] { setting.candidates(options, {4, 2, 1}, 2); });
  };
  EXPECT_EQ(exit_code({}), base::ExitCode::finished);
  EXPECT_EQ(exit_code({.air_weight = -0.1}), base::ExitCode::options);
  EXPECT_EQ(exit_code({.tissue_weights = {1, 1, 1}}), base::ExitCode::options);
  EXPECT_EQ(exit_code({.tissue_weights = {1, 1, 1, 1, 1, 1, 1, -1}}), base::ExitCode::options);
  EXPECT_EQ(exit_code({.tissue_weights = {1, 1, 1, 1, 1, 1, 1, 0}}), base::ExitCode::finished);
  EXPECT_EQ(exit_code({.balance = 1.5}), base::ExitCode::options);
  EXPECT_EQ(exit_code({.placement = CandidatePlacement::image, .thresholds = {0.9, 0.8}}), base::ExitCode::options);
  EXPECT_EQ(exit_code({.placement = CandidatePlacement::image, .thresholds = {1.2, 0.9, 0.8}}),
            base::ExitCode::options);
  EXPECT_EQ(exit_code({.placement = CandidatePlacement::image, .thresholds = {0.9, 0.8, 0.0}}),
            base::ExitCode::options);
  EXPECT_EQ(exit_code({.placement = CandidatePlacement::position, .thresholds = {0.9}}),
            base::ExitCode::finished);  // not used there
}

}  // namespace
}  // namespace leda::language
