// The blocks of the autoencoder's encoder and decoder, as in VQGAN (taming-transformers): residual block, attention
// over positions, halving and doubling of the resolution.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/layers.hpp"
#include "models/network.hpp"

namespace leda::models {

// x * sigmoid(x)
at::Tensor swish(const at::Tensor& input);

struct ResidualBlock {
  GroupNorm norm1;
  Conv2d conv1;
  GroupNorm norm2;
  Conv2d conv2;
  std::optional<Conv2d> nin_shortcut;  // where the number of channels changes

  at::Tensor operator()(const at::Tensor& input) const;
};

ResidualBlock make_residual_block(const TensorScope& scope, std::int64_t in_channels, std::int64_t out_channels,
                                  std::int64_t norm_groups);

// One head over all positions of the map, with residual: out = x + proj(v softmax(q^T k / sqrt(channels))^T).
struct AttentionBlock {
  GroupNorm norm;
  Conv2d q, k, v, proj_out;

  at::Tensor operator()(const at::Tensor& input) const;
};

AttentionBlock make_attention_block(const TensorScope& scope, std::int64_t channels, std::int64_t norm_groups);

// Stride-2 convolution after one zero column on the right and one zero row at the bottom: padding on all sides would
// shift the map by half a pixel against published weights.
struct Downsample {
  Conv2d conv;
  at::Tensor operator()(const at::Tensor& input) const;
};

Downsample make_downsample(const TensorScope& scope, std::int64_t channels);

// Each pixel twice on both axes, then a convolution.
struct Upsample {
  Conv2d conv;
  at::Tensor operator()(const at::Tensor& input) const;
};

Upsample make_upsample(const TensorScope& scope, std::int64_t channels);

// The residual blocks of one resolution, each followed by attention where the level has it.
struct ResidualLevel {
  std::vector<ResidualBlock> block;
  std::vector<AttentionBlock> attn;  // empty, or one per residual block

  at::Tensor operator()(const at::Tensor& input) const;
};

// Names `block.{i}` and `attn.{i}`; the first block changes the number of channels.
ResidualLevel make_residual_level(const TensorScope& scope, int num_blocks, bool has_attention,
                                  std::int64_t in_channels, std::int64_t out_channels, std::int64_t norm_groups);

// Two residual blocks with attention between them, at the lowest resolution.
struct MiddleBlocks {
  ResidualBlock block_1;
  AttentionBlock attn_1;
  ResidualBlock block_2;

  at::Tensor operator()(const at::Tensor& input) const;
};

MiddleBlocks make_middle_blocks(const TensorScope& scope, std::int64_t channels, std::int64_t norm_groups);

}  // namespace leda::models
