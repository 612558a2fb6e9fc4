#include "models/perceptual_network.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/max_pool2d.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <span>

#include "base/error.hpp"

namespace leda::models {
namespace {

// VGG16's convolutions by slice: position in torchvision's `features` and output channels.
struct VggConv {
  int position;
  std::int64_t out_channels;
};
const std::array<std::vector<VggConv>, 5> kVggSlices{{{{0, 64}, {2, 64}},
                                                      {{5, 128}, {7, 128}},
                                                      {{10, 256}, {12, 256}, {14, 256}},
                                                      {{17, 512}, {19, 512}, {21, 512}},
                                                      {{24, 512}, {26, 512}, {28, 512}}}};
// LPIPS scales RGB in [-1, 1] to the statistics VGG16 was trained with.
constexpr std::array<double, 3> kShift{-0.030, -0.088, -0.188};
constexpr std::array<double, 3> kScale{0.458, 0.448, 0.450};
// Keeps the normalised features finite where all channels are zero.
constexpr double kNormFloor = 1e-10;

std::string conv_name(int slice, int position) { return fmt::format("net.slice{}.{}", slice + 1, position); }
std::string lin_name(int slice) { return fmt::format("lin{}.model.1.weight", slice); }

// The weights by name, or one error that lists all that is wrong with them.
std::map<std::string, at::Tensor> checked(const std::vector<NamedTensor>& weights) {
  std::map<std::string, at::Tensor> by_name;
  for (const NamedTensor& entry : weights) by_name[entry.name] = entry.tensor;
  std::vector<std::string> faults;
  for (const NamedShape& required : PerceptualNetwork::required_tensors()) {
    const auto found = by_name.find(required.name);
    if (found == by_name.end()) {
      faults.push_back(required.name + " is missing");
    } else if (found->second.sizes() != at::IntArrayRef(required.shape)) {
      faults.push_back(fmt::format("{} is {}, not {}", required.name, found->second.sizes().vec(), required.shape));
    }
  }
  if (!faults.empty()) {
    throw base::Error(base::ExitCode::data,
                      {.what = "The LPIPS weights do not fit",
                       .value = fmt::format("{}", fmt::join(faults, "; ")),
                       .why = "the perceptual loss needs VGG16's convolutions and LPIPS's weights",
                       .remedy = "convert the published weights again, or set the perceptual weight "
                                 "to 0"});
  }
  return by_name;
}

// Features of unit length over the channels. The norm's gradient is 0 at 0, where a square root's is infinite.
at::Tensor unit_length(const at::Tensor& features) {
  return features / (at::linalg_vector_norm(features, 2, {1}, /*keepdim=*/true) + kNormFloor);
}

}  // namespace

std::vector<NamedShape> PerceptualNetwork::required_tensors() {
  std::vector<NamedShape> required;
  std::int64_t channels = 3;
  for (int slice = 0; slice < kNumSlices; ++slice) {
    for (const VggConv& conv : kVggSlices[slice]) {
      required.push_back({conv_name(slice, conv.position) + ".weight", {conv.out_channels, channels, 3, 3}});
      required.push_back({conv_name(slice, conv.position) + ".bias", {conv.out_channels}});
      channels = conv.out_channels;
    }
  }
  for (int slice = 0; slice < kNumSlices; ++slice) {
    required.push_back({lin_name(slice), {1, kVggSlices[slice].back().out_channels, 1, 1}});
  }
  return required;
}

PerceptualNetwork::PerceptualNetwork(const std::vector<NamedTensor>& weights, const TensorSettings& settings) {
  const std::map<std::string, at::Tensor> given = checked(weights);
  const TensorScope scope(table_, settings);
  const auto take = [&](const std::string& name) { return scope.buffer(name, given.at(name).to(settings.dtype)); };
  const auto constant = [&](const std::string& name, std::span<const double> values) {
    const at::Tensor tensor = at::tensor(at::ArrayRef<double>(values.data(), values.size()), at::kDouble);
    return scope.buffer("scaling_layer." + name, tensor.to(settings.dtype).view({1, 3, 1, 1}));
  };
  shift_ = constant("shift", kShift);
  scale_ = constant("scale", kScale);
  for (int slice = 0; slice < kNumSlices; ++slice) {
    for (const VggConv& conv : kVggSlices[slice]) {
      const std::string name = conv_name(slice, conv.position);
      slices_[slice].push_back({.weight = take(name + ".weight"), .bias = take(name + ".bias"), .padding = 1});
    }
  }
  for (int slice = 0; slice < kNumSlices; ++slice) lin_[slice] = take(lin_name(slice));
}

std::array<at::Tensor, PerceptualNetwork::kNumSlices> PerceptualNetwork::features(const at::Tensor& images) const {
  at::Tensor current = (images.expand({-1, 3, -1, -1}) - shift_) / scale_;
  std::array<at::Tensor, kNumSlices> taken;
  for (int slice = 0; slice < kNumSlices; ++slice) {
    if (slice > 0) current = at::max_pool2d(current, {2, 2});
    for (const Conv2d& conv : slices_[slice]) current = at::relu(conv(current));
    taken[slice] = current;
  }
  return taken;
}

at::Tensor PerceptualNetwork::distance(const at::Tensor& first, const at::Tensor& second) const {
  const auto features_first = features(first);
  const auto features_second = features(second);
  at::Tensor total;
  for (int slice = 0; slice < kNumSlices; ++slice) {
    const at::Tensor difference = unit_length(features_first[slice]) - unit_length(features_second[slice]);
    const at::Tensor per_image = (difference.square() * lin_[slice]).sum(1).mean({1, 2});
    total = total.defined() ? total + per_image : per_image;
  }
  return total;
}

}  // namespace leda::models
