#include "models/layers.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace leda::models {
namespace {

double default_bound(std::int64_t fan_in) { return 1.0 / std::sqrt(static_cast<double>(fan_in)); }

// A value per channel, shaped to meet B x C x H x W.
at::Tensor per_channel(const at::Tensor& values) { return values.view({1, -1, 1, 1}); }

// Mean and population variance per channel over all ranks. Two passes, the second on centred values: one pass over
// squares cancels where the mean is large against the deviation, which float32 does not forgive.
struct Statistics {
  at::Tensor mean;
  at::Tensor variance;
  at::Tensor num_values;  // per channel, over all ranks
};

Statistics statistics_over_ranks(const at::Tensor& input, const SumOverRanks& sum_over_ranks) {
  const std::int64_t channels = input.size(1);
  const std::int64_t num_pixels = input.size(2) * input.size(3);
  // Images are counted, not pixels: their number is exact in float32.
  const at::Tensor num_images = at::empty({1}, input.options().requires_grad(false)).fill_(input.size(0));
  const at::Tensor totals = sum_over_ranks(at::cat({input.sum({0, 2, 3}), num_images}));
  Statistics statistics;
  statistics.num_values = totals.narrow(0, channels, 1).detach() * num_pixels;
  statistics.mean = totals.narrow(0, 0, channels) / statistics.num_values;
  // The centred values of all ranks sum to zero, so the variance does not depend on the mean to first order.
  const at::Tensor centred = input - per_channel(statistics.mean.detach());
  statistics.variance = sum_over_ranks(centred.square().sum({0, 2, 3})) / statistics.num_values;
  return statistics;
}

}  // namespace

at::Tensor Conv2d::operator()(const at::Tensor& input) const {
  return at::conv2d(input, weight, bias, stride, padding);
}

Conv2d make_conv2d(const TensorScope& scope, const Conv2dShape& shape, std::optional<Initialisation> weight_start) {
  const Initialisation start = Initialisation::uniform(default_bound(shape.in_channels * shape.kernel * shape.kernel));
  Conv2d conv;
  conv.weight = scope.parameter("weight", {shape.out_channels, shape.in_channels, shape.kernel, shape.kernel},
                                weight_start.value_or(start));
  if (shape.bias) conv.bias = scope.parameter("bias", {shape.out_channels}, start);
  conv.stride = shape.stride;
  conv.padding = shape.padding;
  return conv;
}

at::Tensor ConvTranspose2d::operator()(const at::Tensor& input) const {
  return at::conv_transpose2d(input, weight, bias);
}

ConvTranspose2d make_conv_transpose2d(const TensorScope& scope, std::int64_t in_channels, std::int64_t out_channels,
                                      std::int64_t kernel, bool start_at_zero) {
  // PyTorch counts the fan-in of a transposed weight along its second axis.
  const Initialisation start = start_at_zero ? Initialisation::constant(0.0)
                                             : Initialisation::uniform(default_bound(out_channels * kernel * kernel));
  return {scope.parameter("weight", {in_channels, out_channels, kernel, kernel}, start),
          scope.parameter("bias", {out_channels}, start)};
}

at::Tensor GroupNorm::operator()(const at::Tensor& input) const {
  return at::group_norm(input, num_groups, weight, bias, epsilon);
}

GroupNorm make_group_norm(const TensorScope& scope, std::int64_t channels, std::int64_t num_groups, double epsilon) {
  GroupNorm norm;
  norm.weight = scope.parameter("weight", {channels}, Initialisation::constant(1.0));
  norm.bias = scope.parameter("bias", {channels}, Initialisation::constant(0.0));
  norm.num_groups = std::min(num_groups, channels);
  while (channels % norm.num_groups != 0) --norm.num_groups;
  norm.epsilon = epsilon;
  return norm;
}

at::Tensor BatchNorm::operator()(const at::Tensor& input, bool training, const SumOverRanks& sum_over_ranks) const {
  Statistics statistics;
  if (training) {
    statistics = statistics_over_ranks(input, sum_over_ranks);
    const at::NoGradGuard no_grad;
    const at::Tensor unbiased = statistics.variance * (statistics.num_values / (statistics.num_values - 1));
    // Handles share storage with the tensor table: written in place.
    at::Tensor(running_mean).lerp_(statistics.mean, momentum);
    at::Tensor(running_var).lerp_(unbiased, momentum);
    at::Tensor(num_batches_tracked).add_(1);
  } else {
    statistics.mean = running_mean;
    statistics.variance = running_var;
  }
  const at::Tensor scale = weight * (statistics.variance + epsilon).rsqrt();
  return (input - per_channel(statistics.mean)) * per_channel(scale) + per_channel(bias);
}

BatchNorm make_batch_norm(const TensorScope& scope, std::int64_t channels, Initialisation weight_start) {
  const TensorSettings& settings = scope.settings();
  const auto values = at::TensorOptions(settings.dtype);
  BatchNorm norm;
  norm.weight = scope.parameter("weight", {channels}, weight_start);
  norm.bias = scope.parameter("bias", {channels}, Initialisation::constant(0.0));
  norm.running_mean = scope.buffer("running_mean", at::zeros({channels}, values));
  norm.running_var = scope.buffer("running_var", at::ones({channels}, values));
  norm.num_batches_tracked = scope.buffer("num_batches_tracked", at::zeros({}, at::TensorOptions(at::kLong)));
  return norm;
}

}  // namespace leda::models
