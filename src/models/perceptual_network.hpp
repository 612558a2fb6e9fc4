// LPIPS (Zhang et al., arXiv 1801.03924) on VGG16: distance of two images as weighted distance of their features.
// Always frozen; gradients flow to the images only. Owns its tensors. Any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/layers.hpp"
#include "models/network.hpp"

namespace leda::models {

struct NamedShape {
  std::string name;
  std::vector<std::int64_t> shape;
};

class PerceptualNetwork {
 public:
  // The tensors needed: `net.slice1.0.weight` ... and `lin{0..4}.model.1.weight`.
  static std::vector<NamedShape> required_tensors();

  // Takes what it needs from `weights` and ignores the rest (the published file also holds the scaling constants, which
  // are fixed here). Throws Error(data) that names every missing or mis-shaped tensor.
  PerceptualNetwork(const std::vector<NamedTensor>& weights, const TensorSettings& settings);
  PerceptualNetwork(const PerceptualNetwork&) = delete;
  PerceptualNetwork& operator=(const PerceptualNetwork&) = delete;

  // All are buffers: this network is never trained.
  TensorTable& tensors() { return table_; }

  // Images B x 1 x H x W in [-1, 1], sides at least 16; the distance per image, [B].
  at::Tensor distance(const at::Tensor& first, const at::Tensor& second) const;

 private:
  static constexpr int kNumSlices = 5;
  std::array<at::Tensor, kNumSlices> features(const at::Tensor& images) const;

  TensorTable table_;
  at::Tensor shift_;
  at::Tensor scale_;
  std::array<std::vector<Conv2d>, kNumSlices> slices_;
  std::array<at::Tensor, kNumSlices> lin_;  // 1 x channels x 1 x 1
};

}  // namespace leda::models
