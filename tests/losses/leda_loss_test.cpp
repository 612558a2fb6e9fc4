#include "losses/leda_loss.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "tests/support/finite_differences.hpp"

namespace leda::losses {
namespace {

constexpr std::int64_t kChannels = 6;
constexpr std::int64_t kWords = 40;

// A small frozen autoencoder, twofold downsampling twice, on images of 16 x 16: latents of 4 x 4, two levels.
class LedaLoss : public testing::Test {
 protected:
  LedaLoss() : autoencoder_(options(), random_codebook(), {.dtype = at::kDouble, .seed = 3}) {
    autoencoder_.tensors().freeze();
  }

  static models::AutoencoderOptions options() {
    models::AutoencoderOptions options;
    options.channels = 4;
    options.multipliers = {1, 1, 2};
    options.decoder_blocks = 1;
    options.strides = {2, 1};
    options.vocabulary_tile = 16;
    return options;
  }
  at::Tensor random_codebook() { return at::randn({kWords, kChannels}, generator_, at::kDouble) * 0.5; }
  at::Tensor random_images(std::int64_t count) { return at::rand({count, 1, 16, 16}, generator_, at::kDouble); }

  at::Generator generator_ = at::make_generator<at::CPUGeneratorImpl>(11);
  models::Autoencoder autoencoder_;
};

TEST_F(LedaLoss, IsExactlyZeroForEqualImages) {
  const at::Tensor images = random_images(2);
  const LedaTerms terms = leda_loss(autoencoder_, images, images.clone());
  ASSERT_EQ(terms.token.sizes(), (std::vector<std::int64_t>{2}));
  EXPECT_EQ(terms.token.abs().sum().item<double>(), 0.0);
  EXPECT_EQ(terms.feature.abs().sum().item<double>(), 0.0);
  EXPECT_TRUE(at::equal(terms.token_agreement.select(1, 0), terms.token_agreement.select(1, 1)));
  EXPECT_EQ(terms.token_agreement[0][1].item<std::int64_t>(), 2 * 4);
  EXPECT_EQ(terms.token_agreement[1][1].item<std::int64_t>(), 2 * 16);
}

TEST_F(LedaLoss, TermsAreMeanSquaresPerImage) {
  const at::Tensor normal_dose = random_images(2);
  at::Tensor denoised = random_images(2);
  denoised[0].copy_(normal_dose[0]);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, normal_dose);
  EXPECT_EQ(terms.token[0].item<double>(), 0.0);
  EXPECT_EQ(terms.feature[0].item<double>(), 0.0);

  const at::Tensor first = autoencoder_.encode(denoised);
  const at::Tensor second = autoencoder_.encode(normal_dose);
  const auto first_words = autoencoder_.quantize(first, {.gradients = false});
  const auto second_words = autoencoder_.quantize(second, {.gradients = false});
  double feature = 0.0, token = 0.0;
  for (std::int64_t channel = 0; channel < kChannels; ++channel) {
    for (std::int64_t row = 0; row < 4; ++row) {
      for (std::int64_t column = 0; column < 4; ++column) {
        const auto difference = [&](const at::Tensor& a, const at::Tensor& b) {
          return a[1][channel][row][column].item<double>() - b[1][channel][row][column].item<double>();
        };
        feature += std::pow(difference(first, second), 2) / (kChannels * 16.0);
        token += std::pow(difference(first_words.quantized, second_words.quantized), 2) / (kChannels * 16.0);
      }
    }
  }
  EXPECT_GT(token, 0.0);
  EXPECT_NEAR(terms.feature[1].item<double>(), feature, 1e-13);
  EXPECT_NEAR(terms.token[1].item<double>(), token, 1e-13);

  for (std::int64_t level = 0; level < 2; ++level) {
    const auto index = static_cast<std::size_t>(level);
    std::int64_t agree = 0;
    for (std::int64_t i = 0; i < first_words.levels[index].tokens.numel(); ++i) {
      agree += first_words.levels[index].tokens.flatten()[i].item<std::int64_t>() ==
               second_words.levels[index].tokens.flatten()[i].item<std::int64_t>();
    }
    EXPECT_EQ(terms.token_agreement[level][0].item<std::int64_t>(), agree);
    EXPECT_LT(agree, terms.token_agreement[level][1].item<std::int64_t>());
  }
}

TEST_F(LedaLoss, FeatureGradientIsThatOfFiniteDifferences) {
  const at::Tensor normal_dose = random_images(1);
  const at::Tensor denoised = random_images(1).set_requires_grad(true);
  const at::Tensor loss = leda_loss(autoencoder_, denoised, normal_dose).feature.sum();
  const at::Tensor gradient = torch::autograd::grad({loss}, {denoised})[0].contiguous();
  const at::Tensor moved = denoised.detach().clone();
  const auto value = [&] { return leda_loss(autoencoder_, moved, normal_dose).feature.sum().item<double>(); };
  for (std::int64_t index = 0; index < moved.numel(); index += 37) {
    const double expected = test::central_difference(value, moved, index, 1e-5);
    EXPECT_NEAR(gradient.const_data_ptr<double>()[index], expected, 1e-7 * std::max(1.0, std::abs(expected))) << index;
  }
}

TEST_F(LedaLoss, TokenGradientPassesTheQuantiserUnchanged) {
  const at::Tensor normal_dose = random_images(2);
  const at::Tensor denoised = random_images(2).set_requires_grad(true);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, normal_dose);
  ASSERT_GT(terms.token.min().item<double>(), 0.0);
  const at::Tensor gradient = torch::autograd::grad({terms.token.sum()}, {denoised})[0];

  // 2 (zq(denoised) - zq(normal dose)) / elements, sent into E(denoised).
  const at::Tensor latent = autoencoder_.encode(denoised);
  const at::Tensor words = autoencoder_.quantize(latent.detach(), {.gradients = false}).quantized;
  const at::Tensor reference = autoencoder_.quantize(autoencoder_.encode(normal_dose), {.gradients = false}).quantized;
  const at::Tensor arriving = 2 * (words - reference) / static_cast<double>(kChannels * 16);
  const at::Tensor expected = torch::autograd::grad({latent}, {denoised}, {arriving})[0];
  EXPECT_GT(expected.abs().max().item<double>(), 0.0);
  EXPECT_LT((gradient - expected).abs().max().item<double>(), 1e-14);
}

TEST_F(LedaLoss, NormalDoseImageGetsNoGradient) {
  const at::Tensor normal_dose = random_images(1).set_requires_grad(true);
  const at::Tensor denoised = random_images(1).set_requires_grad(true);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, normal_dose);
  const auto gradients = torch::autograd::grad({(terms.token + terms.feature).sum()}, {denoised, normal_dose}, {},
                                               std::nullopt, false, /*allow_unused=*/true);
  EXPECT_TRUE(gradients[0].defined());
  EXPECT_FALSE(gradients[1].defined());
  for (const models::NamedTensor& entry : autoencoder_.tensors().parameters) {
    EXPECT_FALSE(entry.tensor.requires_grad()) << entry.name;
  }
}

TEST_F(LedaLoss, BatchWithoutImagesHasNoTermsAndKeepsItsGraph) {
  const at::Tensor denoised = at::empty({0, 1, 16, 16}, at::kDouble).set_requires_grad(true);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, at::empty({0, 1, 16, 16}, at::kDouble));
  EXPECT_EQ(terms.token.size(0), 0);
  EXPECT_EQ(terms.feature.size(0), 0);
  EXPECT_EQ(terms.token_agreement.sum().item<std::int64_t>(), 0);
  const at::Tensor total = (terms.token + terms.feature).sum();
  EXPECT_EQ(torch::autograd::grad({total}, {denoised})[0].sizes(), denoised.sizes());
}

constexpr TokenTermOptions kSoft{.term = TokenTerm::soft, .temperature = 0.8};

// How strongly the feature term pulls at a crop of even brightness, for each unit that the crop is off.
double pull_on_a_flat_crop(int norm_groups, at::Generator& generator) {
  models::AutoencoderOptions options;
  options.channels = 8;
  options.norm_groups = norm_groups;
  options.multipliers = {1, 1, 2};
  options.decoder_blocks = 1;
  options.strides = {2, 1};
  const at::Tensor codebook = at::randn({kWords, 16}, generator, at::kDouble);
  models::Autoencoder autoencoder(options, codebook, {.dtype = at::kDouble, .seed = 3});
  autoencoder.tensors().freeze();
  const at::Tensor normal_dose = at::zeros({1, 1, 32, 32}, at::kDouble);
  const at::Tensor error = 1e-4 * at::randn({1, 1, 32, 32}, generator, at::kDouble);
  const at::Tensor denoised = (normal_dose + error).requires_grad_();
  const at::Tensor feature = leda_loss(autoencoder, denoised, normal_dose).feature.sum();
  return (torch::autograd::grad({feature}, {denoised})[0].norm() / error.norm()).item<double>();
}

TEST_F(LedaLoss, NormsOverSingleChannelsPullAThousandTimesHarderAtAFlatCrop) {
  EXPECT_GT(pull_on_a_flat_crop(8, generator_), 1000.0 * pull_on_a_flat_crop(2, generator_));
}

// Whole N x V distributions, one level after the other, from the quantiser's own inputs.
TEST_F(LedaLoss, SoftTokenTermIsTheMeanDivergencePerLevelThenOverLevels) {
  const at::Tensor normal_dose = random_images(2), denoised = random_images(2);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, normal_dose, kSoft);
  const at::Tensor words = autoencoder_.codebook();
  const auto log_shares = [&](const at::Tensor& inputs) {
    return ((inputs.matmul(words.t()) * 2 - words.square().sum(1)) / kSoft.temperature).log_softmax(-1);
  };
  const auto first = autoencoder_.quantize(autoencoder_.encode(denoised), {.gradients = false});
  const auto second = autoencoder_.quantize(autoencoder_.encode(normal_dose), {.gradients = false});
  at::Tensor expected = at::zeros({2}, at::kDouble);
  for (std::size_t level = 0; level < 2; ++level) {
    const at::Tensor q = log_shares(first.levels[level].inputs), p = log_shares(second.levels[level].inputs);
    expected += (p.exp() * (p - q)).sum(-1).mean({1, 2}) / 2;
  }
  EXPECT_GT(expected.min().item<double>(), 1e-6);
  EXPECT_LT(((terms.token - expected) / expected).abs().max().item<double>(), 1e-9);
  const LedaTerms hard = leda_loss(autoencoder_, denoised, normal_dose);
  EXPECT_TRUE(at::equal(terms.feature, hard.feature));
  EXPECT_TRUE(at::equal(terms.token_agreement, hard.token_agreement));
}

TEST_F(LedaLoss, SoftTokenTermMovesWhereNoTokenFlips) {
  const at::Tensor normal_dose = random_images(2);
  const at::Tensor denoised = (normal_dose + 1e-4 * random_images(2)).set_requires_grad(true);
  const LedaTerms hard = leda_loss(autoencoder_, denoised, normal_dose);
  ASSERT_EQ(hard.token.abs().sum().item<double>(), 0.0);
  const LedaTerms soft = leda_loss(autoencoder_, denoised, normal_dose, kSoft);
  EXPECT_GT(soft.token.min().item<double>(), 0.0);
  EXPECT_GT(torch::autograd::grad({soft.token.sum()}, {denoised})[0].abs().max().item<double>(), 0.0);
}

TEST_F(LedaLoss, SoftTokenTermIsExactlyZeroForEqualImages) {
  const at::Tensor normal_dose = random_images(2);
  const at::Tensor denoised = normal_dose.clone().set_requires_grad(true);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, normal_dose, kSoft);
  EXPECT_EQ(terms.token.abs().sum().item<double>(), 0.0);
  EXPECT_EQ(torch::autograd::grad({terms.token.sum()}, {denoised})[0].abs().max().item<double>(), 0.0);
}

// At every 37th pixel of the denoised image.
void expect_soft_token_gradient(const models::Autoencoder& autoencoder, const at::Tensor& denoised,
                                const at::Tensor& normal_dose, const at::Tensor& gradient) {
  const double largest = gradient.abs().max().item<double>();
  ASSERT_GT(largest, 0.0);
  const at::Tensor moved = denoised.detach().clone();
  const auto value = [&] { return leda_loss(autoencoder, moved, normal_dose, kSoft).token.sum().item<double>(); };
  for (std::int64_t index = 0; index < moved.numel(); index += 37) {
    const double expected = test::central_difference(value, moved, index, 1e-6);
    EXPECT_NEAR(gradient.const_data_ptr<double>()[index], expected, 1e-6 * largest) << index;
  }
}

// Through encoder and pyramid, where z^l has its own factor (Eq. 2); no token flips within the differences' step.
TEST_F(LedaLoss, SoftTokenGradientIsThatOfFiniteDifferences) {
  const at::Tensor normal_dose = random_images(1);
  for (const double distance : {1.0, 0.01}) {
    const at::Tensor denoised = (normal_dose + distance * (random_images(1) - 0.5)).set_requires_grad(true);
    const at::Tensor loss = leda_loss(autoencoder_, denoised, normal_dose, kSoft).token.sum();
    const at::Tensor gradient = torch::autograd::grad({loss}, {denoised})[0].contiguous();
    expect_soft_token_gradient(autoencoder_, denoised, normal_dose, gradient);
  }
}

// The distributions are of the scores that the tokens are chosen by: here of vectors and words of length 1.
TEST_F(LedaLoss, SoftTokenTermUnderTheCosineIsThatOfUnitVectorsAndSoIsItsGradient) {
  models::AutoencoderOptions cosine = options();
  cosine.distance = models::WordDistance::cosine;
  models::Autoencoder autoencoder(cosine, random_codebook(), {.dtype = at::kDouble, .seed = 3});
  autoencoder.tensors().freeze();
  const at::Tensor normal_dose = random_images(1);
  const at::Tensor denoised = (normal_dose + 0.01 * (random_images(1) - 0.5)).set_requires_grad(true);
  const auto unit = [](const at::Tensor& rows) { return rows / rows.square().sum(-1, true).sqrt(); };
  const auto log_shares = [&](const at::Tensor& inputs) {
    return ((unit(inputs).matmul(unit(autoencoder.codebook()).t()) * 2 - 1) / kSoft.temperature).log_softmax(-1);
  };
  const auto first = autoencoder.quantize(autoencoder.encode(denoised.detach()), {.gradients = false});
  const auto second = autoencoder.quantize(autoencoder.encode(normal_dose), {.gradients = false});
  double expected = 0.0;
  for (std::size_t level = 0; level < 2; ++level) {
    const at::Tensor q = log_shares(first.levels[level].inputs), p = log_shares(second.levels[level].inputs);
    expected += (p.exp() * (p - q)).sum(-1).mean().item<double>() / 2;
  }
  const at::Tensor loss = leda_loss(autoencoder, denoised, normal_dose, kSoft).token.sum();
  ASSERT_GT(expected, 1e-12);
  EXPECT_NEAR(loss.item<double>() / expected, 1.0, 1e-6);

  const at::Tensor gradient = torch::autograd::grad({loss}, {denoised})[0].contiguous();
  expect_soft_token_gradient(autoencoder, denoised, normal_dose, gradient);
}

TEST_F(LedaLoss, SoftTokenTermOfNoImagesKeepsItsGraph) {
  const at::Tensor denoised = at::empty({0, 1, 16, 16}, at::kDouble).set_requires_grad(true);
  const LedaTerms terms = leda_loss(autoencoder_, denoised, at::empty({0, 1, 16, 16}, at::kDouble), kSoft);
  EXPECT_EQ(terms.token.size(0), 0);
  EXPECT_EQ(torch::autograd::grad({terms.token.sum()}, {denoised})[0].sizes(), denoised.sizes());
}

}  // namespace
}  // namespace leda::losses
