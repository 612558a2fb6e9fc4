#include "models/encoder.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/autoencoder.hpp"

namespace leda::models {
namespace {

EncoderLevel make_level(const TensorScope& scope, const AutoencoderOptions& options, int level,
                        std::int64_t in_channels, std::int64_t out_channels) {
  const auto& attention = options.attention_levels;
  const bool has_attention = std::find(attention.begin(), attention.end(), level) != attention.end();
  EncoderLevel made;
  for (int i = 0; i < options.encoder_blocks; ++i) {
    const std::int64_t from = i == 0 ? in_channels : out_channels;
    const TensorScope block = scope.child(fmt::format("block.{}", i));
    made.block.push_back(make_residual_block(block, from, out_channels, options.norm_groups));
    if (!has_attention) continue;
    made.attn.push_back(
        make_attention_block(scope.child(fmt::format("attn.{}", i)), out_channels, options.norm_groups));
  }
  const bool is_last = level + 1 == static_cast<int>(options.multipliers.size());
  if (!is_last) made.downsample = make_downsample(scope.child("downsample"), out_channels);
  return made;
}

}  // namespace

at::Tensor Encoder::operator()(const at::Tensor& images) const {
  at::Tensor features = conv_in(images);
  for (const EncoderLevel& level : down) {
    for (std::size_t i = 0; i < level.block.size(); ++i) {
      features = level.block[i](features);
      if (!level.attn.empty()) features = level.attn[i](features);
    }
    if (level.downsample) features = (*level.downsample)(features);
  }
  return conv_out(swish(norm_out(mid(features))));
}

Encoder make_encoder(const TensorScope& scope, const AutoencoderOptions& options) {
  Encoder encoder;
  std::int64_t channels = options.channels;
  encoder.conv_in = make_conv2d(scope.child("conv_in"), {.in_channels = 1, .out_channels = channels, .padding = 1});
  for (int level = 0; level < static_cast<int>(options.multipliers.size()); ++level) {
    const std::int64_t out_channels = std::int64_t{options.channels} * options.multipliers[level];
    const TensorScope level_scope = scope.child(fmt::format("down.{}", level));
    encoder.down.push_back(make_level(level_scope, options, level, channels, out_channels));
    channels = out_channels;
  }
  encoder.mid = make_middle_blocks(scope.child("mid"), channels, options.norm_groups);
  encoder.norm_out = make_group_norm(scope.child("norm_out"), channels, options.norm_groups);
  encoder.conv_out = make_conv2d(scope.child("conv_out"),
                                 {.in_channels = channels, .out_channels = options.latent_channels, .padding = 1});
  return encoder;
}

}  // namespace leda::models
