// RED-CNN (Chen et al., IEEE TMI 36(12), 2017): five convolutions and five transposed convolutions of size 5 without
// padding, three skips, ReLU at the end. State-dict names conv1..5 and tconv1..5.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>

#include "models/denoiser.hpp"
#include "models/layers.hpp"
#include "models/network.hpp"

namespace leda::models {

class RedCnn final : public Denoiser {
 public:
  RedCnn(const DenoiserOptions& options, const TensorSettings& settings);

  at::Tensor denoise(const at::Tensor& low_dose) const override;
  TensorTable& tensors() override { return table_; }
  int size_multiple() const override { return 1; }
  int smallest_size() const override { return 21; }

 private:
  double input_scale_;
  TensorTable table_;
  std::array<Conv2d, 5> conv_;
  std::array<ConvTranspose2d, 5> tconv_;
};

}  // namespace leda::models
