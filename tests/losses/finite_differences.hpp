// Derivatives by central differences, for comparison with autograd. In double precision.
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>

namespace leda::test {

// d f / d (element `index` of `point`, counted row-major); `point` is contiguous and as before afterwards.
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

}  // namespace leda::test
