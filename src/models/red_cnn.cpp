#include "models/red_cnn.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/relu.h>
#include <fmt/format.h>

namespace leda::models {
namespace {

constexpr std::int64_t kKernel = 5;

}  // namespace

RedCnn::RedCnn(const DenoiserOptions& options, const TensorSettings& settings) : input_scale_(options.input_scale) {
  const TensorScope scope(table_, settings);
  const std::int64_t channels = options.channels;
  for (int i = 0; i < 5; ++i) {
    conv_[i] = make_conv2d(scope.child(fmt::format("conv{}", i + 1)),
                           {.in_channels = i == 0 ? 1 : channels, .out_channels = channels, .kernel = kKernel});
  }
  for (int i = 0; i < 5; ++i) {
    const bool is_last = i == 4;
    tconv_[i] = make_conv_transpose2d(scope.child(fmt::format("tconv{}", i + 1)), channels, is_last ? 1 : channels,
                                      kKernel, is_last && options.zero_last_layer);
  }
}

at::Tensor RedCnn::denoise(const at::Tensor& low_dose) const {
  const at::Tensor input = low_dose * input_scale_;
  const at::Tensor c1 = at::relu(conv_[0](input));
  const at::Tensor c2 = at::relu(conv_[1](c1));
  const at::Tensor c3 = at::relu(conv_[2](c2));
  const at::Tensor c4 = at::relu(conv_[3](c3));
  const at::Tensor c5 = at::relu(conv_[4](c4));
  const at::Tensor d1 = tconv_[0](c5) + c4;
  const at::Tensor d2 = tconv_[1](at::relu(d1));
  const at::Tensor d3 = tconv_[2](at::relu(d2)) + c2;
  const at::Tensor d4 = tconv_[3](at::relu(d3));
  const at::Tensor d5 = tconv_[4](at::relu(d4)) + input;
  return at::relu(d5) / input_scale_;
}

}  // namespace leda::models
