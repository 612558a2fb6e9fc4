#include "models/decoder.hpp"

#include <fmt/format.h>

#include "models/autoencoder.hpp"

namespace leda::models {
namespace {

DecoderLevel make_decoder_level(const TensorScope& scope, const AutoencoderOptions& options, int level,
                                std::int64_t in_channels, std::int64_t out_channels) {
  DecoderLevel made;
  made.residual = make_residual_level(scope, options.decoder_blocks, has_attention(options, level), in_channels,
                                      out_channels, options.norm_groups);
  if (level > 0) made.upsample = make_upsample(scope.child("upsample"), out_channels);
  return made;
}

}  // namespace

at::Tensor Decoder::operator()(const at::Tensor& latent_features) const {
  at::Tensor features = mid(conv_in(latent_features));
  for (auto level = up.rbegin(); level != up.rend(); ++level) {
    features = level->residual(features);
    if (level->upsample) features = (*level->upsample)(features);
  }
  return conv_out(swish(norm_out(features)));
}

Decoder make_decoder(const TensorScope& scope, const AutoencoderOptions& options) {
  const int num_levels = static_cast<int>(options.multipliers.size());
  Decoder decoder;
  std::int64_t channels = std::int64_t{options.channels} * options.multipliers.back();
  decoder.conv_in = make_conv2d(scope.child("conv_in"),
                                {.in_channels = options.latent_channels, .out_channels = channels, .padding = 1});
  decoder.mid = make_middle_blocks(scope.child("mid"), channels, options.norm_groups);
  decoder.up.resize(num_levels);
  for (int level = num_levels - 1; level >= 0; --level) {
    const std::int64_t out_channels = std::int64_t{options.channels} * options.multipliers[level];
    decoder.up[level] =
        make_decoder_level(scope.child(fmt::format("up.{}", level)), options, level, channels, out_channels);
    channels = out_channels;
  }
  decoder.norm_out = make_group_norm(scope.child("norm_out"), channels, options.norm_groups);
  decoder.conv_out = make_conv2d(scope.child("conv_out"), {.in_channels = channels, .out_channels = 1, .padding = 1});
  return decoder;
}

}  // namespace leda::models
