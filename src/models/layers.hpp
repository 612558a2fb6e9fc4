// The layers all networks share, as structs of weights with a call operator. A make_x function registers the weights
// in a scope under PyTorch's names (weight, bias) and starts them as PyTorch does. All accept batches of 0 images.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

#include "models/network.hpp"

namespace leda::models {

struct Conv2d {
  at::Tensor weight;  // out x in x k x k
  at::Tensor bias;    // out, or undefined
  std::int64_t stride = 1;
  std::int64_t padding = 0;

  at::Tensor operator()(const at::Tensor& input) const;
};

struct Conv2dShape {
  std::int64_t in_channels = 1;
  std::int64_t out_channels = 1;
  std::int64_t kernel = 3;
  std::int64_t stride = 1;
  std::int64_t padding = 0;
  bool bias = true;
};

// `weight_start` replaces PyTorch's default U(-b, b), b = 1/sqrt(fan_in); the bias always starts from the default.
Conv2d make_conv2d(const TensorScope& scope, const Conv2dShape& shape,
                   std::optional<Initialisation> weight_start = std::nullopt);

// Transposed convolution with stride 1 and no padding: the output is k - 1 pixels larger on each axis.
struct ConvTranspose2d {
  at::Tensor weight;  // in x out x k x k
  at::Tensor bias;    // out

  at::Tensor operator()(const at::Tensor& input) const;
};

ConvTranspose2d make_conv_transpose2d(const TensorScope& scope, std::int64_t in_channels, std::int64_t out_channels,
                                      std::int64_t kernel, bool start_at_zero = false);

struct GroupNorm {
  at::Tensor weight;  // channels
  at::Tensor bias;    // channels
  std::int64_t num_groups = 1;
  double epsilon = 1e-6;

  at::Tensor operator()(const at::Tensor& input) const;
};

// `num_groups` is reduced to the largest divisor of `channels` that does not exceed it.
GroupNorm make_group_norm(const TensorScope& scope, std::int64_t channels, std::int64_t num_groups,
                          double epsilon = 1e-6);

// Batch normalisation whose statistics are those of all ranks' images, so that N ranks equal one big batch.
struct BatchNorm {
  at::Tensor weight;               // channels
  at::Tensor bias;                 // channels
  at::Tensor running_mean;         // channels
  at::Tensor running_var;          // channels, unbiased
  at::Tensor num_batches_tracked;  // int64 scalar
  double epsilon = 1e-5;
  double momentum = 0.1;

  // Training: two calls of `sum_over_ranks` (and two more in backward), also where this rank has no image; all ranks
  // together need one image and two values per channel. Evaluation: running statistics, no call.
  at::Tensor operator()(const at::Tensor& input, bool training, const SumOverRanks& sum_over_ranks) const;
};

BatchNorm make_batch_norm(const TensorScope& scope, std::int64_t channels, Initialisation weight_start);

}  // namespace leda::models
