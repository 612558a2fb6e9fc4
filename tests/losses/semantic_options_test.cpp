// Every option of the semantic loss, alone and together, against a plain reference: no tiles, no running sums, Eq. (2)
// step by step, one position after the other, its gradient by autograd; and both against central differences.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <map>

#include "base/keyed_random.hpp"
#include "losses/semantic_loss.hpp"
#include "models/pyramid_masks.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/support/finite_differences.hpp"

namespace leda::losses {
namespace {

constexpr std::int64_t kWordChannels = 5;
constexpr std::int64_t kSide = 4;
constexpr std::int64_t kNumImages = 2;

struct Options {
  bool cosine;
  double temperature;
  bool normalise_latents;
  double balance;
};

std::vector<Options> all_options() {
  std::vector<Options> all;
  for (const bool cosine : {false, true}) {
    for (const double temperature : {1.0, 0.3}) {
      for (const bool normalise : {false, true}) {
        for (const double balance : {0.0, 0.7}) all.push_back({cosine, temperature, normalise, balance});
      }
    }
  }
  return all;
}

class SemanticOptions : public testing::TestWithParam<Options> {
 protected:
  SemanticOptions() {
    base::KeyedRandom random({7});
    for (std::int64_t i = 0; i < tissue_.numel(); ++i) {
      // Few tissues, so that their numbers of cells differ.
      tissue_.mutable_data_ptr<std::uint8_t>()[i] = static_cast<std::uint8_t>(random.below(3) * random.below(3));
    }
    for (std::int64_t i = 0; i < latent_.numel(); ++i) latent_.mutable_data_ptr<double>()[i] = 0.6 * random.normal();
  }

  models::VocabularyMetric metric() const { return {GetParam().cosine, GetParam().temperature}; }

  std::vector<language::LevelCandidates> candidates() const {
    std::vector<language::LevelGrid> grids;
    for (const models::PyramidLevel& level : models::pyramid_levels(strides_, kSide, kSide)) {
      grids.push_back({level.rows, level.columns});
    }
    language::CandidateOptions options;
    options.balance = GetParam().balance;
    return language::CandidateWords(words_, scored_codebook(codebook_, metric()), options, strides_, 2)
        .of_tissue_maps(tissue_, grids);
  }

  models::QuantizedLatent quantize(const at::Tensor& latent, bool gradients) const {
    const at::Tensor z = GetParam().normalise_latents ? models::to_unit_length(latent, 1) : latent;
    return models::quantize_pyramid(z, codebook_, strides_, 11, {.log_partition = true, .gradients = gradients},
                                    metric());
  }
  at::Tensor loss(const at::Tensor& latent, bool gradients) const {
    return semantic_loss(quantize(latent, gradients).levels, candidates(), metric());
  }

  // |z - e(t)|^2 of all words, of directions with cosine distance.
  at::Tensor distances(const at::Tensor& z) const {
    if (!GetParam().cosine) return (codebook_ - z).square().sum(1);
    const at::Tensor lengths = codebook_.square().sum(1, true).sqrt();
    return (codebook_ / lengths - z / z.square().sum().sqrt()).square().sum(1);
  }

  // Cells of each tissue in a level of an image, counted one by one.
  double position_weight(const at::Tensor& cells, std::int64_t row, std::int64_t column) const {
    std::map<int, double> number;
    const auto cell = cells.accessor<std::uint8_t, 2>();
    for (std::int64_t r = 0; r < cells.size(0); ++r) {
      for (std::int64_t c = 0; c < cells.size(1); ++c) number[cell[r][c]] += 1.0;
    }
    double sum = 0.0;
    for (const auto& [tissue, count] : number) sum += count * std::pow(count, -GetParam().balance);
    return std::pow(number[cell[row][column]], -GetParam().balance) / (sum / static_cast<double>(cells.numel()));
  }

  // The loss of one position of a level, whose input is z^l; the chosen word is told.
  at::Tensor plain_position(const at::Tensor& input, ct::Tissue tissue, std::int64_t& token) const {
    const at::Tensor squares = distances(input);
    token = squares.argmin().item<std::int64_t>();
    const at::Tensor log_shares = at::log_softmax(-squares / GetParam().temperature, 0);
    at::Tensor sum = at::zeros({}, at::kDouble);
    for (const std::int64_t word : words_.tokens_of(tissue)) sum = sum - log_shares[word];
    return sum / static_cast<double>(words_.tokens_of(tissue).size());
  }

  // Loss per image and, if wanted, the tokens of the last level.
  at::Tensor plain_loss(const at::Tensor& latent, at::Tensor* last_tokens = nullptr) const {
    const auto wanted = candidates();
    std::vector<at::Tensor> images;
    for (std::int64_t image = 0; image < kNumImages; ++image) {
      std::map<std::pair<std::int64_t, std::int64_t>, at::Tensor> inputs;  // z^l where it is no longer z
      at::Tensor over_levels = at::zeros({}, at::kDouble);
      const auto levels = models::pyramid_levels(strides_, kSide, kSide);
      for (std::size_t l = 0; l < levels.size(); ++l) {
        at::Tensor sum = at::zeros({}, at::kDouble);
        for (std::int64_t r = 0; r < levels[l].rows; ++r) {
          for (std::int64_t c = 0; c < levels[l].columns; ++c) {
            const std::int64_t row = levels[l].offset + r * levels[l].stride;
            const std::int64_t column = levels[l].offset + c * levels[l].stride;
            at::Tensor z = latent[image].select(1, row).select(1, column);
            if (GetParam().normalise_latents) z = z / z.square().sum().sqrt();
            at::Tensor& input = inputs[{row, column}];
            if (!input.defined()) input = z;
            std::int64_t token = 0;
            const auto tissue = static_cast<ct::Tissue>(wanted[l].tissue[image][r][c].item<std::uint8_t>());
            sum = sum + plain_position(input, tissue, token) * position_weight(wanted[l].tissue[image], r, c);
            input = input + (z - codebook_[token]);
            if (last_tokens != nullptr && l + 1 == levels.size()) (*last_tokens)[image][r][c] = token;
          }
        }
        over_levels = over_levels + sum / static_cast<double>(levels[l].rows * levels[l].columns);
      }
      images.push_back(over_levels / static_cast<double>(levels.size()));
    }
    return at::stack(images);
  }

  language::Vocabulary vocabulary_ = test::tiny_vocabulary(kWordChannels);
  language::TissueWords words_{vocabulary_};
  at::Tensor codebook_ = language::make_codebook(vocabulary_, false, at::kDouble);
  std::vector<int> strides_{4, 2, 1};
  at::Tensor tissue_ = at::empty({kNumImages, 2 * kSide, 2 * kSide}, at::kByte);
  at::Tensor latent_ = at::empty({kNumImages, kWordChannels, kSide, kSide}, at::kDouble);
};

TEST_P(SemanticOptions, LossAndTokensAreThoseOfThePlainReference) {
  at::Tensor tokens = at::zeros({kNumImages, kSide, kSide}, at::kLong);
  const at::Tensor plain = plain_loss(latent_, &tokens);
  const at::Tensor found = loss(latent_, false);
  for (std::int64_t image = 0; image < kNumImages; ++image) {
    EXPECT_NEAR(found[image].item<double>(), plain[image].item<double>(), 1e-12);
  }
  EXPECT_TRUE(quantize(latent_, false).levels.back().tokens.equal(tokens));
}

TEST_P(SemanticOptions, GradientIsThatOfThePlainReferenceAndOfFiniteDifferences) {
  const at::Tensor z = latent_.clone().set_requires_grad(true);
  const at::Tensor weights = at::tensor({0.7, -1.3}, at::kDouble);
  const at::Tensor gradient = torch::autograd::grad({(loss(z, true) * weights).sum()}, {z})[0].contiguous();
  const at::Tensor plain = torch::autograd::grad({(plain_loss(z) * weights).sum()}, {z})[0].contiguous();
  EXPECT_LT((gradient - plain).abs().max().item<double>(), 1e-11 * (1.0 + plain.abs().max().item<double>()));
  EXPECT_GT(plain.abs().max().item<double>(), 1e-3);
  const auto weighted = [&] { return (loss(latent_, false) * weights).sum().item<double>(); };
  for (std::int64_t index = 0; index < latent_.numel(); index += 7) {
    EXPECT_NEAR(gradient.const_data_ptr<double>()[index], test::central_difference(weighted, latent_, index), 1e-7);
  }
}

TEST_P(SemanticOptions, TheTileChangesNothing) {
  const at::Tensor found = loss(latent_, false);
  const auto whole =
      models::quantize_pyramid(GetParam().normalise_latents ? models::to_unit_length(latent_, 1) : latent_, codebook_,
                               strides_, 4096, {.log_partition = true, .gradients = false}, metric());
  EXPECT_LT((semantic_loss(whole.levels, candidates(), metric()) - found).abs().max().item<double>(), 1e-12);
}

INSTANTIATE_TEST_SUITE_P(All, SemanticOptions, testing::ValuesIn(all_options()), [](const auto& entry) {
  const Options& options = entry.param;
  return fmt::format("{}_temperature_{}_{}_balance_{}", options.cosine ? "cosine" : "euclidean",
                     options.temperature == 1.0 ? "1" : "03", options.normalise_latents ? "unit" : "raw",
                     options.balance == 0.0 ? "0" : "07");
});

TEST(DynamicSemanticFactor, IsEachImagesRatioWithoutAGradient) {
  const at::Tensor appearance = at::tensor({0.5, 0.02, 3.0}, at::kDouble).set_requires_grad(true);
  const at::Tensor semantic = at::tensor({2.0, 4.0, 0.0}, at::kDouble).set_requires_grad(true);
  const at::Tensor factor = dynamic_semantic_factor(appearance, semantic);
  EXPECT_FALSE(factor.requires_grad());
  EXPECT_DOUBLE_EQ(factor[0].item<double>(), 0.25);
  EXPECT_DOUBLE_EQ(factor[1].item<double>(), 0.005);
  EXPECT_DOUBLE_EQ(factor[2].item<double>(), 1e4);
  EXPECT_EQ(dynamic_semantic_factor(at::zeros({0}), at::zeros({0})).numel(), 0);
}

TEST(ScoredCodebook, HasRowsOfLengthOneWithCosineDistanceOnly) {
  const at::Tensor codebook = at::tensor({3.0, 4.0, 0.0, 0.0}, at::kDouble).reshape({2, 2});
  EXPECT_TRUE(scored_codebook(codebook, {}).equal(codebook));
  const at::Tensor unit = scored_codebook(codebook, {.cosine = true});
  EXPECT_NEAR(unit[0][0].item<double>(), 0.6, 1e-15);
  EXPECT_NEAR(unit[0][1].item<double>(), 0.8, 1e-15);
  EXPECT_EQ(unit[1].abs().sum().item<double>(), 0.0);
}

}  // namespace
}  // namespace leda::losses
