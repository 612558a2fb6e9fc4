#include "models/encoder.hpp"

#include <fmt/format.h>

#include "models/autoencoder.hpp"

namespace leda::models {
namespace {

EncoderLevel make_encoder_level(const TensorScope& scope, const AutoencoderOptions& options, int level,
                                std::int64_t in_channels, std::int64_t out_channels) {
  EncoderLevel made;
  made.residual = make_residual_level(scope, options.encoder_blocks, has_attention(options, level), in_channels,
                                      out_channels, options.norm_groups);
  const bool is_last = level + 1 == static_cast<int>(options.multipliers.size());
  if (!is_last) made.downsample = make_downsample(scope.child("downsample"), out_channels);
  return made;
}

}  // namespace

at::Tensor Encoder::operator()(const at::Tensor& images) const {
  at::Tensor features = conv_in(images);
  for (const EncoderLevel& level : down) {
    features = level.residual(features);
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
    encoder.down.push_back(make_encoder_level(level_scope, options, level, channels, out_channels));
    channels = out_channels;
  }
  encoder.mid = make_middle_blocks(scope.child("mid"), channels, options.norm_groups);
  encoder.norm_out = make_group_norm(scope.child("norm_out"), channels, options.norm_groups);
  encoder.conv_out = make_conv2d(scope.child("conv_out"),
                                 {.in_channels = channels, .out_channels = options.latent_channels, .padding = 1});
  return encoder;
}

}  // namespace leda::models
