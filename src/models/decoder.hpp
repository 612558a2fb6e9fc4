// The autoencoder's decoder, the encoder's mirror: levels in falling order, each but level 0 ending in a doubling of
// the resolution. No output activation. State-dict names as in taming-transformers' VQGAN.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "models/residual_blocks.hpp"

namespace leda::models {

struct AutoencoderOptions;

struct DecoderLevel {
  ResidualLevel residual;
  std::optional<Upsample> upsample;
};

struct Decoder {
  Conv2d conv_in;
  MiddleBlocks mid;
  std::vector<DecoderLevel> up;  // full resolution first, as in the names; applied last to first
  GroupNorm norm_out;
  Conv2d conv_out;

  // B x latent_channels x h x w to B x 1 x d h x d w
  at::Tensor operator()(const at::Tensor& latent_features) const;
};

Decoder make_decoder(const TensorScope& scope, const AutoencoderOptions& options);

}  // namespace leda::models
