#include "evaluation/image_metrics.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>

#include <cmath>

#include "evaluation/separable_filter.hpp"

namespace leda::evaluation {
namespace {

constexpr double kSsimSigma = 1.5;
constexpr std::int64_t kSsimRadius = 5;
constexpr double kSsimK1 = 0.01;
constexpr double kSsimK2 = 0.03;

// Mean over the mask's pixels, or over all where the mask is undefined.
double masked_mean(const at::Tensor& values, const at::Tensor& mask) {
  if (!mask.defined()) return values.mean().item<double>();
  const at::Tensor counts = mask.ne(0).to(at::kDouble);
  return (values * counts).sum().item<double>() / counts.sum().item<double>();
}

double mean_squared_difference(const at::Tensor& image, const at::Tensor& reference, const at::Tensor& mask) {
  return masked_mean((image.to(at::kDouble) - reference.to(at::kDouble)).square(), mask);
}

}  // namespace

at::Tensor clipped_hu(const at::Tensor& image_hu, const ct::Window& window) {
  return image_hu.to(at::kDouble).clamp(window.low_hu, window.high_hu);
}

double rmse(const at::Tensor& image, const at::Tensor& reference, const at::Tensor& mask) {
  return std::sqrt(mean_squared_difference(image, reference, mask));
}

double psnr_db(const at::Tensor& image, const at::Tensor& reference, double data_range, const at::Tensor& mask) {
  return 10.0 * std::log10(data_range * data_range / mean_squared_difference(image, reference, mask));
}

at::Tensor ssim_map(const at::Tensor& image, const at::Tensor& reference, double data_range) {
  const at::Tensor x = image.to(at::kDouble);
  const at::Tensor y = reference.to(at::kDouble);
  const at::Tensor filtered =
      filter_valid(at::stack({x, y, x * x, y * y, x * y}), gaussian_kernel(kSsimSigma, kSsimRadius));
  const at::Tensor mean_x = filtered[0];
  const at::Tensor mean_y = filtered[1];
  const at::Tensor variance_x = filtered[2] - mean_x.square();
  const at::Tensor variance_y = filtered[3] - mean_y.square();
  const at::Tensor covariance = filtered[4] - mean_x * mean_y;
  const double c1 = std::pow(kSsimK1 * data_range, 2);
  const double c2 = std::pow(kSsimK2 * data_range, 2);
  return (2.0 * mean_x * mean_y + c1) * (2.0 * covariance + c2) /
         ((mean_x.square() + mean_y.square() + c1) * (variance_x + variance_y + c2));
}

double ssim(const at::Tensor& image, const at::Tensor& reference, double data_range, const at::Tensor& mask) {
  const at::Tensor map = ssim_map(image, reference, data_range);
  if (!mask.defined()) return masked_mean(map, {});
  return masked_mean(map, mask.narrow(0, kSsimRadius, map.size(0)).narrow(1, kSsimRadius, map.size(1)));
}

}  // namespace leda::evaluation
