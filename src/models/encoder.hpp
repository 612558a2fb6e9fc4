// The autoencoder's encoder: one level per multiplier, each but the last ending in a halving of the resolution.
// State-dict names as in taming-transformers' VQGAN.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "models/residual_blocks.hpp"

namespace leda::models {

struct AutoencoderOptions;

struct EncoderLevel {
  ResidualLevel residual;
  std::optional<Downsample> downsample;
};

struct Encoder {
  Conv2d conv_in;
  std::vector<EncoderLevel> down;  // full resolution first
  MiddleBlocks mid;
  GroupNorm norm_out;
  Conv2d conv_out;

  // B x 1 x H x W to B x latent_channels x H/d x W/d
  at::Tensor operator()(const at::Tensor& images) const;
};

Encoder make_encoder(const TensorScope& scope, const AutoencoderOptions& options);

}  // namespace leda::models
