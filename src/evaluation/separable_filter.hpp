// Filtering with the same 1-D kernel along rows and columns, what SSIM and the Gaussian denoiser share.
#pragma once

#include <ATen/core/Tensor.h>

namespace leda::evaluation {

// exp(-k^2 / (2 sigma^2)) for k = -radius..radius, sum 1, float64.
at::Tensor gaussian_kernel(double sigma, std::int64_t radius);

// N x H x W float64 to N x (H - 2 radius) x (W - 2 radius): only where the kernel (2 radius + 1 taps) fits.
at::Tensor filter_valid(const at::Tensor& images, const at::Tensor& kernel);

}  // namespace leda::evaluation
