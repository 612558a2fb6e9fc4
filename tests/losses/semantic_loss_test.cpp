#include "losses/semantic_loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <numeric>

#include "base/keyed_random.hpp"
#include "models/pyramid_masks.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/support/finite_differences.hpp"

namespace leda::losses {
namespace {

using language::CandidateWords;
using language::LevelCandidates;
using models::LevelTokens;
using models::QuantizedLatent;

// The case of closed-form latents and embeddings whose numbers were computed in double precision with NumPy:
// e(t)_c = 0.1 sin(0.7 (t+1)(c+1)), z(r,k)_c = 0.1 cos(0.13 (r+1)(c+1) + 0.29 (k+1)(c+2)); 64 words, 8 channels.
at::Tensor formula_codebook() {
  at::Tensor codebook = at::empty({64, 8}, at::kDouble);
  for (int t = 0; t < 64; ++t) {
    for (int c = 0; c < 8; ++c) codebook[t][c] = 0.1 * std::sin(0.7 * (t + 1) * (c + 1));
  }
  return codebook;
}

at::Tensor formula_latent(int side) {
  at::Tensor latent = at::empty({1, 8, side, side}, at::kDouble);
  double* value = latent.mutable_data_ptr<double>();
  for (int c = 0; c < 8; ++c) {
    for (int r = 0; r < side; ++r) {
      for (int k = 0; k < side; ++k) *value++ = 0.1 * std::cos(0.13 * (r + 1) * (c + 1) + 0.29 * (k + 1) * (c + 2));
    }
  }
  return latent;
}

LevelCandidates same_everywhere(const at::Tensor& codebook, const std::vector<std::int64_t>& tokens) {
  at::Tensor mean = at::zeros({codebook.size(1)}, codebook.options());
  at::Tensor mean_square = at::zeros({}, codebook.options());
  for (const std::int64_t token : tokens) {
    mean.add_(codebook[token]);
    mean_square.add_(codebook[token].square().sum());
  }
  const double count = static_cast<double>(tokens.size());
  return {.exists = true,
          .mean_embedding = (mean / count).reshape({1, 1, 1, -1}),
          .mean_square_norm = (mean_square / count).reshape({1, 1, 1}),
          .tissue = {}};
}

std::vector<LevelCandidates> formula_candidates(const at::Tensor& codebook) {
  std::vector<std::int64_t> ten(10);
  std::iota(ten.begin(), ten.end(), 0);
  return {same_everywhere(codebook, {0, 5}), same_everywhere(codebook, {0, 5, 9}), same_everywhere(codebook, ten)};
}

struct FormulaCase {
  int side;
  std::vector<double> per_level;  // of the levels that exist, coarse to fine
  double total;
};

class SemanticLossNumbers : public testing::TestWithParam<FormulaCase> {};

TEST_P(SemanticLossNumbers, AreThoseOfTheReference) {
  const at::Tensor codebook = formula_codebook();
  const auto candidates = formula_candidates(codebook);
  const QuantizedLatent latent = models::quantize_pyramid(formula_latent(GetParam().side), codebook, {16, 4, 1}, 7,
                                                          {.log_partition = true, .gradients = false});
  EXPECT_NEAR(semantic_loss(latent.levels, candidates)[0].item<double>(), GetParam().total, 1e-9);
  std::size_t next = 0;
  for (std::size_t level = 0; level < 3; ++level) {
    if (!latent.levels[level].exists) continue;
    std::vector<LevelTokens> alone(3);
    alone[level] = latent.levels[level];
    EXPECT_NEAR(semantic_loss(alone, candidates)[0].item<double>(), GetParam().per_level.at(next++), 1e-9);
  }
  EXPECT_EQ(next, GetParam().per_level.size());
}

INSTANTIATE_TEST_SUITE_P(MapSizes, SemanticLossNumbers,
                         testing::Values(FormulaCase{32, {4.156705453, 4.164568733, 4.159670826}, 4.160315004},
                                         FormulaCase{4, {4.178178321, 4.161000403}, 4.169589362}),
                         [](const testing::TestParamInfo<FormulaCase>& map) {
                           return "side_" + std::to_string(map.param.side);
                         });

// Two images of 4 x 4 latents (8 x 8 pixels), tissues changing from cell to cell.
struct TissueCase {
  static constexpr std::int64_t kChannels = 5;
  language::Vocabulary vocabulary = test::tiny_vocabulary(kChannels);
  language::TissueWords words{vocabulary};
  at::Tensor codebook = language::make_codebook(vocabulary, false, at::kDouble);
  std::vector<int> strides{4, 2, 1};
  at::Tensor tissue = at::empty({2, 8, 8}, at::kByte);
  at::Tensor latent = at::empty({2, kChannels, 4, 4}, at::kDouble);

  TissueCase() {
    base::KeyedRandom random({99});
    for (std::int64_t i = 0; i < tissue.numel(); ++i) {
      tissue.mutable_data_ptr<std::uint8_t>()[i] = static_cast<std::uint8_t>(random.below(8));
    }
    for (std::int64_t i = 0; i < latent.numel(); ++i) latent.mutable_data_ptr<double>()[i] = 0.5 * random.normal();
  }

  std::vector<LevelCandidates> candidates() const {
    std::vector<language::LevelGrid> grids;
    for (const models::PyramidLevel& level : models::pyramid_levels(strides, 4, 4)) {
      grids.push_back({level.rows, level.columns});
    }
    return CandidateWords(words, codebook, {}, strides, 2).of_tissue_maps(tissue, grids);
  }
  QuantizedLatent quantize(const at::Tensor& z, bool gradients = false) const {
    return models::quantize_pyramid(z, codebook, strides, 11, {.log_partition = true, .gradients = gradients});
  }
  double loss(std::int64_t image) const {
    return semantic_loss(quantize(latent).levels, candidates())[image].item<double>();
  }

  // -log( exp(-|z - e(c)|^2) / sum_t exp(-|z - e(t)|^2) ), meant over candidates, positions and levels one by one.
  double brute_force(std::int64_t image) const {
    const auto levels = quantize(latent).levels;
    const auto wanted = candidates();
    double over_levels = 0.0;
    for (std::size_t index = 0; index < levels.size(); ++index) {
      const at::Tensor inputs = levels[index].inputs[image];
      double over_positions = 0.0;
      for (std::int64_t row = 0; row < inputs.size(0); ++row) {
        for (std::int64_t column = 0; column < inputs.size(1); ++column) {
          const at::Tensor distances = (codebook - inputs[row][column]).square().sum(1);
          const double normaliser = distances.neg().exp().sum().item<double>();
          const auto cell = static_cast<ct::Tissue>(wanted[index].tissue[image][row][column].item<std::uint8_t>());
          double over_words = 0.0;
          for (const std::int64_t token : words.tokens_of(cell)) {
            over_words -= std::log(std::exp(-distances[token].item<double>()) / normaliser);
          }
          over_positions += over_words / static_cast<double>(words.tokens_of(cell).size());
        }
      }
      over_levels += over_positions / static_cast<double>(inputs.size(0) * inputs.size(1));
    }
    return over_levels / static_cast<double>(levels.size());
  }
};

TEST(SemanticLoss, EqualsTheCrossEntropyWrittenOut) {
  const TissueCase setting;
  for (const std::int64_t image : {0, 1}) EXPECT_NEAR(setting.loss(image), setting.brute_force(image), 1e-12);
}

TEST(SemanticLoss, GradientIsThatOfFiniteDifferences) {
  const TissueCase setting;
  const at::Tensor z = setting.latent.clone().set_requires_grad(true);
  const at::Tensor loss = semantic_loss(setting.quantize(z, true).levels, setting.candidates()).sum();
  const at::Tensor gradient = torch::autograd::grad({loss}, {z})[0].contiguous();
  const double* value = gradient.const_data_ptr<double>();
  for (std::int64_t index = 0; index < z.numel(); index += 7) {
    const auto both = [&] { return setting.loss(0) + setting.loss(1); };
    EXPECT_NEAR(value[index], test::central_difference(both, setting.latent, index), 1e-8) << index;
  }
}

TEST(SemanticLoss, WithoutContrastIsTheLogarithmOfTheNumberOfWords) {
  const at::Tensor codebook = formula_codebook() * 0.0;
  const QuantizedLatent latent =
      models::quantize_pyramid(formula_latent(4), codebook, {2, 1}, 64, {.log_partition = true, .gradients = false});
  const std::vector<LevelCandidates> candidates{same_everywhere(codebook, {3}), same_everywhere(codebook, {1, 2})};
  EXPECT_NEAR(semantic_loss(latent.levels, candidates)[0].item<double>(), std::log(64.0), 1e-12);
}

TEST(SemanticLoss, BatchWithoutImagesHasNoLossAndKeepsItsGraph) {
  const TissueCase setting;
  const at::Tensor z = at::empty({0, TissueCase::kChannels, 4, 4}, at::kDouble).set_requires_grad(true);
  const CandidateWords words(setting.words, setting.codebook, {}, setting.strides, 2);
  const std::vector<language::LevelGrid> grids{{1, 1}, {2, 2}, {4, 4}};
  const at::Tensor loss =
      semantic_loss(setting.quantize(z, true).levels, words.of_tissue_maps(at::empty({0, 8, 8}, at::kByte), grids));
  EXPECT_EQ(loss.sizes(), (std::vector<std::int64_t>{0}));
  EXPECT_EQ(torch::autograd::grad({loss.sum()}, {z})[0].sizes(), z.sizes());
}

TEST(SemanticLoss, SinglePrecisionAgreesWithDouble) {
  const TissueCase setting;
  const at::Tensor codebook = setting.codebook.to(at::kFloat);
  const CandidateWords words(setting.words, codebook, {}, setting.strides, 2);
  const auto candidates =
      words.of_tissue_maps(setting.tissue, std::vector<language::LevelGrid>{{1, 1}, {2, 2}, {4, 4}});
  const QuantizedLatent latent = models::quantize_pyramid(setting.latent.to(at::kFloat), codebook, setting.strides, 11,
                                                          {.log_partition = true, .gradients = false});
  const at::Tensor loss = semantic_loss(latent.levels, candidates);
  EXPECT_EQ(loss.scalar_type(), at::kFloat);
  for (const std::int64_t image : {0, 1}) EXPECT_NEAR(loss[image].item<double>(), setting.loss(image), 1e-5);
}

}  // namespace
}  // namespace leda::losses
