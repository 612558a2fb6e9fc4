#include "models/autoencoder.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/error.hpp"
#include "tests/support/finite_differences.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

const AutoencoderOptions kSmall{.channels = 4, .decoder_blocks = 1, .vocabulary_tile = 8};

struct Census {
  std::int64_t num_values = 0;
  int num_entries = 0;
};

Census census(const TensorTable& table, const std::string& prefix) {
  Census count;
  for (const NamedTensor& entry : table.parameters) {
    if (!entry.name.starts_with(prefix)) continue;
    count.num_values += entry.tensor.numel();
    ++count.num_entries;
  }
  return count;
}

const Autoencoder& published() {
  static const Autoencoder autoencoder({}, at::zeros({10, 512}, at::TensorOptions(at::kFloat)), {});
  return autoencoder;
}

TEST(Autoencoder, PublishedSizes) {
  const TensorTable& table = published().tensors();
  EXPECT_EQ(census(table, "encoder.").num_values, 5179392);
  EXPECT_EQ(census(table, "encoder.").num_entries, 84);
  EXPECT_EQ(census(table, "decoder.").num_values, 8206401);
  EXPECT_EQ(census(table, "decoder.").num_entries, 124);
  EXPECT_EQ(census(table, "quant_conv.").num_values, 131584);
  EXPECT_EQ(census(table, "post_quant_conv.").num_values, 131328);
  EXPECT_EQ(census(table, "encoder.mid.").num_values, 2626048);
  const std::vector<std::int64_t> down{111040, 111040, 377728, 443264, 919040};
  const std::vector<std::int64_t> up{148224, 230400, 738944, 919552, 2952448};
  for (int level = 0; level < 5; ++level) {
    EXPECT_EQ(census(table, "encoder.down." + std::to_string(level)).num_values, down[level]);
    EXPECT_EQ(census(table, "decoder.up." + std::to_string(level)).num_values, up[level]);
  }
}

TEST(Autoencoder, PublishedNames) {
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const NamedTensor& entry : published().tensors().parameters) shapes[entry.name] = entry.tensor.sizes().vec();
  using Shape = std::vector<std::int64_t>;
  EXPECT_EQ(shapes.at("encoder.conv_in.weight"), (Shape{64, 1, 3, 3}));
  EXPECT_EQ(shapes.at("encoder.down.0.block.0.norm1.weight"), (Shape{64}));
  EXPECT_EQ(shapes.at("encoder.down.2.block.0.nin_shortcut.weight"), (Shape{128, 64, 1, 1}));
  EXPECT_EQ(shapes.at("encoder.down.3.downsample.conv.bias"), (Shape{128}));
  EXPECT_FALSE(shapes.contains("encoder.down.4.downsample.conv.bias"));
  EXPECT_EQ(shapes.at("encoder.mid.attn_1.proj_out.weight"), (Shape{256, 256, 1, 1}));
  EXPECT_EQ(shapes.at("encoder.conv_out.weight"), (Shape{256, 256, 3, 3}));
  EXPECT_EQ(shapes.at("decoder.up.3.block.0.conv1.weight"), (Shape{128, 256, 3, 3}));
  EXPECT_EQ(shapes.at("decoder.up.3.block.1.conv1.weight"), (Shape{128, 128, 3, 3}));
  EXPECT_EQ(shapes.at("decoder.up.1.upsample.conv.weight"), (Shape{64, 64, 3, 3}));
  EXPECT_FALSE(shapes.contains("decoder.up.0.upsample.conv.weight"));
  EXPECT_EQ(shapes.at("decoder.norm_out.bias"), (Shape{64}));
  EXPECT_EQ(shapes.at("quant_conv.weight"), (Shape{512, 256, 1, 1}));
  EXPECT_EQ(shapes.at("post_quant_conv.weight"), (Shape{256, 512, 1, 1}));
  EXPECT_EQ(published().last_layer_weight().numel(), 576);
  ASSERT_EQ(published().tensors().buffers.size(), 1u);
  EXPECT_EQ(published().tensors().buffers[0].name, "quantize.embedding.weight");
  EXPECT_EQ(published().downsampling(), 16);
}

TEST(Autoencoder, PublishedNormsHaveTwoChannelsToAGroupAndNarrowNetworksMayHaveOne) {
  EXPECT_FALSE(normalises_single_channels({}));
  EXPECT_FALSE(normalises_single_channels({.channels = 16, .norm_groups = 4}));
  EXPECT_TRUE(normalises_single_channels({.channels = 16, .norm_groups = 16}));
  EXPECT_TRUE(normalises_single_channels({.channels = 16}));
}

TEST(Autoencoder, AttentionLevelsAddBlocksUnderTheirNames) {
  AutoencoderOptions options = kSmall;
  options.attention_levels = {4};
  const Autoencoder autoencoder(options, normal_tensor({10, 6}, 1), {});
  EXPECT_EQ(census(autoencoder.tensors(), "encoder.down.4.attn.0.").num_entries, 10);
  EXPECT_EQ(census(autoencoder.tensors(), "decoder.up.4.attn.0.").num_entries, 10);
  EXPECT_EQ(census(autoencoder.tensors(), "encoder.down.3.attn.").num_entries, 0);
}

TEST(Autoencoder, ShapesOfRectangularImages) {
  const Autoencoder autoencoder(kSmall, normal_tensor({10, 6}, 1), {});
  const at::Tensor images = normal_tensor({2, 1, 32, 64}, 2).to(at::kFloat);
  const at::Tensor latent = autoencoder.encode(images);
  EXPECT_EQ(latent.sizes(), (at::IntArrayRef{2, 6, 2, 4}));
  const QuantizedLatent quantized = autoencoder.quantize(latent, {});
  EXPECT_EQ(autoencoder.decode(quantized.straight_through).sizes(), images.sizes());
}

TEST(Autoencoder, BothPrecisionsAgree) {
  const Autoencoder single(kSmall, normal_tensor({10, 6}, 1), {.dtype = at::kFloat, .seed = 9});
  const Autoencoder full(kSmall, normal_tensor({10, 6}, 1), {.dtype = at::kDouble, .seed = 9});
  const at::Tensor images = normal_tensor({1, 1, 32, 32}, 2);
  const at::Tensor a = single.encode(images.to(at::kFloat)).to(at::kDouble), b = full.encode(images);
  EXPECT_LT(largest(a - b), 1e-5 * largest(b));
  EXPECT_GT(largest(b), 0.0);
}

TEST(Autoencoder, GradientOfTheEncoderEqualsFiniteDifferences) {
  const Autoencoder autoencoder(kSmall, normal_tensor({10, 6}, 1), {.dtype = at::kDouble, .seed = 9});
  const at::Tensor weights = normal_tensor({1, 6, 2, 2}, 3);
  const auto weighted = [&](const at::Tensor& images) { return (autoencoder.encode(images) * weights).sum(); };
  EXPECT_LT(gradient_error(weighted, normal_tensor({1, 1, 32, 32}, 4), 20), 1e-6);
}

TEST(Autoencoder, NormalisedLatentsHaveLengthOneAndTheGradientPassesThroughThat) {
  AutoencoderOptions options = kSmall;
  const at::Tensor codebook = normal_tensor({10, 6}, 30), images = normal_tensor({1, 1, 32, 32}, 31);
  const Autoencoder raw(options, codebook, {at::kDouble});
  options.normalise_latents = true;
  const Autoencoder unit(options, codebook, {at::kDouble});
  const at::Tensor latent = raw.encode(images);
  EXPECT_LT(largest(unit.encode(images) - latent / latent.square().sum(1, true).sqrt()), 1e-14);
  EXPECT_LT(largest(unit.encode(images).square().sum(1) - 1.0), 1e-14);
  const at::Tensor weights = normal_tensor(latent.sizes(), 32);
  const auto weighted = [&](const at::Tensor& input) { return (unit.encode(input) * weights).sum(); };
  EXPECT_LT(gradient_error(weighted, images, 16), 1e-5);
}

TEST(Autoencoder, FrozenPassesGradientsToTheImagesOnly) {
  Autoencoder autoencoder(kSmall, normal_tensor({10, 6}, 1), {});
  autoencoder.tensors().freeze();
  const at::Tensor images = normal_tensor({1, 1, 32, 32}, 5).to(at::kFloat).set_requires_grad(true);
  torch::autograd::backward({autoencoder.encode(images).square().sum()}, {});
  EXPECT_GT(largest(images.grad()), 0.0);
  for (const NamedTensor& entry : autoencoder.tensors().parameters) EXPECT_FALSE(entry.tensor.grad().defined());
}

TEST(Autoencoder, NoImagesGiveEveryParameterAZeroGradient) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const Autoencoder autoencoder(kSmall, normal_tensor({10, 6}, 1), {.dtype = type});
    const at::Tensor latent = autoencoder.encode(at::zeros({0, 1, 32, 32}, at::TensorOptions(type)));
    const QuantizedLatent quantized = autoencoder.quantize(latent, {.log_partition = true});
    const at::Tensor images = autoencoder.decode(quantized.straight_through);
    EXPECT_EQ(images.sizes(), (at::IntArrayRef{0, 1, 32, 32}));
    torch::autograd::backward({images.sum() + quantized.commitment.sum()}, {});
    for (const NamedTensor& entry : autoencoder.tensors().parameters) {
      ASSERT_TRUE(entry.tensor.grad().defined()) << entry.name;
      EXPECT_EQ(largest(entry.tensor.grad()), 0.0) << entry.name;
    }
  }
}

TEST(Autoencoder, CodebookIsACopyThatTrainingCannotReach) {
  const at::Tensor given = normal_tensor({10, 6}, 1);
  const Autoencoder autoencoder(kSmall, given, {.dtype = at::kDouble});
  EXPECT_TRUE(autoencoder.codebook().equal(given));
  given.zero_();
  EXPECT_GT(largest(autoencoder.codebook()), 0.0);
  EXPECT_FALSE(autoencoder.codebook().requires_grad());
}

TEST(Autoencoder, RefusesWhatMakesNoNetwork) {
  const at::Tensor codebook = normal_tensor({10, 6}, 1);
  AutoencoderOptions options = kSmall;
  options.attention_levels = {5};
  EXPECT_THROW(Autoencoder(options, codebook, {}), base::Error);
  options = kSmall;
  options.multipliers = {};
  EXPECT_THROW(Autoencoder(options, codebook, {}), base::Error);
  options = kSmall;
  options.strides = {16, 3, 1};
  EXPECT_THROW(Autoencoder(options, codebook, {}), base::Error);
  const Autoencoder autoencoder(kSmall, codebook, {});
  EXPECT_THROW(autoencoder.encode(at::zeros({1, 1, 32, 40}, at::TensorOptions(at::kFloat))), base::Error);
}

}  // namespace
}  // namespace leda::models
