// What stage 2 trains: any network from a low-dose image to a denoised one of the same size. A new denoiser is a file
// pair and a line in make_denoiser. Owns its tensors; used from one thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "models/network.hpp"

namespace leda::models {

class Denoiser {
 public:
  virtual ~Denoiser() = default;

  // B x 1 x H x W to the same shape, B may be 0. Sides: multiples of size_multiple(), not below smallest_size().
  virtual at::Tensor denoise(const at::Tensor& low_dose) const = 0;
  virtual TensorTable& tensors() = 0;
  virtual int size_multiple() const = 0;
  virtual int smallest_size() const = 0;
};

struct DenoiserOptions {
  std::string type = "red_cnn";
  int channels = 96;
  // f(u) = network(s u) / s. Noise is a few thousandths of a wide window: s around 10 makes it visible to a freshly
  // started network.
  double input_scale = 1.0;
  bool zero_last_layer = false;  // start with output = input, for networks with a residual connection
};

// The names DenoiserOptions::type may take.
std::vector<std::string> denoiser_types();
// Throws Error(options) for an unknown type, naming the known ones, and for impossible values.
std::unique_ptr<Denoiser> make_denoiser(const DenoiserOptions& options, const TensorSettings& settings);

}  // namespace leda::models
