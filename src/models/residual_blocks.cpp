#include "models/residual_blocks.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/upsample_nearest2d.h>
#include <fmt/format.h>

#include <array>
#include <cmath>

namespace leda::models {
namespace {

Conv2d make_conv3(const TensorScope& scope, std::int64_t in_channels, std::int64_t out_channels) {
  return make_conv2d(scope, {.in_channels = in_channels, .out_channels = out_channels, .kernel = 3, .padding = 1});
}

Conv2d make_conv1(const TensorScope& scope, std::int64_t in_channels, std::int64_t out_channels) {
  return make_conv2d(scope, {.in_channels = in_channels, .out_channels = out_channels, .kernel = 1});
}

}  // namespace

at::Tensor swish(const at::Tensor& input) { return at::silu(input); }

at::Tensor ResidualBlock::operator()(const at::Tensor& input) const {
  const at::Tensor inner = conv1(swish(norm1(input)));
  return conv2(swish(norm2(inner))) + (nin_shortcut ? (*nin_shortcut)(input) : input);
}

ResidualBlock make_residual_block(const TensorScope& scope, std::int64_t in_channels, std::int64_t out_channels,
                                  std::int64_t norm_groups) {
  ResidualBlock block;
  block.norm1 = make_group_norm(scope.child("norm1"), in_channels, norm_groups);
  block.conv1 = make_conv3(scope.child("conv1"), in_channels, out_channels);
  block.norm2 = make_group_norm(scope.child("norm2"), out_channels, norm_groups);
  block.conv2 = make_conv3(scope.child("conv2"), out_channels, out_channels);
  if (in_channels != out_channels)
    block.nin_shortcut = make_conv1(scope.child("nin_shortcut"), in_channels, out_channels);
  return block;
}

at::Tensor AttentionBlock::operator()(const at::Tensor& input) const {
  const at::Tensor normed = norm(input);
  const double scale = 1.0 / std::sqrt(static_cast<double>(input.size(1)));
  const std::array<std::int64_t, 3> flat{input.size(0), input.size(1), input.size(2) * input.size(3)};
  const at::Tensor queries = q(normed).reshape(flat).transpose(1, 2);                              // B x hw x C
  const at::Tensor attention = at::softmax(at::bmm(queries * scale, k(normed).reshape(flat)), 2);  // B x hw x hw
  const at::Tensor mixed = at::bmm(v(normed).reshape(flat), attention.transpose(1, 2));            // B x C x hw
  return input + proj_out(mixed.reshape(input.sizes()));
}

AttentionBlock make_attention_block(const TensorScope& scope, std::int64_t channels, std::int64_t norm_groups) {
  return {.norm = make_group_norm(scope.child("norm"), channels, norm_groups),
          .q = make_conv1(scope.child("q"), channels, channels),
          .k = make_conv1(scope.child("k"), channels, channels),
          .v = make_conv1(scope.child("v"), channels, channels),
          .proj_out = make_conv1(scope.child("proj_out"), channels, channels)};
}

at::Tensor Downsample::operator()(const at::Tensor& input) const {
  return conv(at::constant_pad_nd(input, {0, 1, 0, 1}));
}

Downsample make_downsample(const TensorScope& scope, std::int64_t channels) {
  return {make_conv2d(scope.child("conv"),
                      {.in_channels = channels, .out_channels = channels, .kernel = 3, .stride = 2, .padding = 0})};
}

at::Tensor Upsample::operator()(const at::Tensor& input) const {
  return conv(at::upsample_nearest2d(input, {2 * input.size(2), 2 * input.size(3)}));
}

Upsample make_upsample(const TensorScope& scope, std::int64_t channels) {
  return {make_conv3(scope.child("conv"), channels, channels)};
}

at::Tensor ResidualLevel::operator()(const at::Tensor& input) const {
  at::Tensor features = input;
  for (std::size_t i = 0; i < block.size(); ++i) {
    features = block[i](features);
    if (!attn.empty()) features = attn[i](features);
  }
  return features;
}

ResidualLevel make_residual_level(const TensorScope& scope, int num_blocks, bool has_attention,
                                  std::int64_t in_channels, std::int64_t out_channels, std::int64_t norm_groups) {
  ResidualLevel level;
  for (int i = 0; i < num_blocks; ++i) {
    const std::int64_t from = i == 0 ? in_channels : out_channels;
    level.block.push_back(
        make_residual_block(scope.child(fmt::format("block.{}", i)), from, out_channels, norm_groups));
    if (!has_attention) continue;
    level.attn.push_back(make_attention_block(scope.child(fmt::format("attn.{}", i)), out_channels, norm_groups));
  }
  return level;
}

at::Tensor MiddleBlocks::operator()(const at::Tensor& input) const { return block_2(attn_1(block_1(input))); }

MiddleBlocks make_middle_blocks(const TensorScope& scope, std::int64_t channels, std::int64_t norm_groups) {
  return {.block_1 = make_residual_block(scope.child("block_1"), channels, channels, norm_groups),
          .attn_1 = make_attention_block(scope.child("attn_1"), channels, norm_groups),
          .block_2 = make_residual_block(scope.child("block_2"), channels, channels, norm_groups)};
}

}  // namespace leda::models
