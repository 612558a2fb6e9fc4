// Gradients checked against central differences, and reproducible test tensors.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>

#include "base/keyed_random.hpp"

namespace leda::test {

// Standard normal numbers in float64, a function of key and shape only.
inline at::Tensor normal_tensor(at::IntArrayRef shape, std::uint64_t key, double deviation = 1.0) {
  at::Tensor values = at::empty(shape, at::TensorOptions(at::kDouble));
  base::KeyedRandom random({key});
  double* value = values.mutable_data_ptr<double>();
  std::generate(value, value + values.numel(), [&] { return deviation * random.normal(); });
  return values;
}

inline double largest(const at::Tensor& tensor) {
  return tensor.numel() == 0 ? 0.0 : tensor.detach().abs().max().item<double>();
}

// d f / d (element `index` of `point`, counted row-major); `point` is contiguous, in float64, and as before afterwards.
inline double central_difference(const std::function<double()>& f, const at::Tensor& point, std::int64_t index,
                                 double step = 1e-6) {
  double& value = point.mutable_data_ptr<double>()[index];
  const double original = value;
  value = original + step;
  const double above = f();
  value = original - step;
  const double below = f();
  value = original;
  return (above - below) / (2.0 * step);
}

// The largest difference between autograd's gradient of the scalar function at `point` and central differences, over
// about `num_probes` elements, relative to the gradient's largest element.
inline double gradient_error(const std::function<at::Tensor(const at::Tensor&)>& function, const at::Tensor& point,
                             std::int64_t num_probes = 64, double step = 1e-5) {
  const at::Tensor input = point.detach().clone().contiguous().set_requires_grad(true);
  const at::Tensor gradient = torch::autograd::grad({function(input)}, {input})[0].contiguous();
  const std::int64_t stride = std::max<std::int64_t>(1, input.numel() / num_probes);
  const at::Tensor moved = point.detach().clone().contiguous();
  double worst = 0.0;
  for (std::int64_t i = 0; i < input.numel(); i += stride) {
    const double expected = central_difference([&] { return function(moved).item<double>(); }, moved, i, step);
    worst = std::max(worst, std::abs(gradient.const_data_ptr<double>()[i] - expected));
  }
  return worst / std::max(largest(gradient), 1e-30);
}

}  // namespace leda::test
