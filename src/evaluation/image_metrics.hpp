// How far an image is from its reference: RMSE, PSNR and SSIM, in double precision, over a whole image or inside a
// mask. Pure functions. Equations and sources: docs/methods/metrics.md.
//
// Images are H x W of any floating type and are measured in double precision. Nothing is clipped here: clip both
// images to the window first (clipped_hu), so that every method is measured alike. A mask is H x W, uint8 or bool, and
// non-zero where a pixel counts; an undefined mask counts all pixels.
#pragma once

#include <ATen/core/Tensor.h>

#include "ct/hounsfield.hpp"

namespace leda::evaluation {

// Clipped to the window, in HU, float64.
at::Tensor clipped_hu(const at::Tensor& image_hu, const ct::Window& window);

// Root of the mean squared difference over the mask's pixels, in the images' unit. NaN where the mask is empty.
double rmse(const at::Tensor& image, const at::Tensor& reference, const at::Tensor& mask = {});

// 10 log10(data_range^2 / MSE) in dB; infinite where the images are equal.
double psnr_db(const at::Tensor& image, const at::Tensor& reference, double data_range, const at::Tensor& mask = {});

// SSIM's map, variant "G, valid interior" (Wang et al. 2004, as scikit-image with gaussian_weights=True, sigma=1.5,
// use_sample_covariance=False): 11 x 11 Gaussian of sigma 1.5, population covariance, K1 0.01, K2 0.03. Images in
// [0, data_range], at least 11 x 11. (H - 10) x (W - 10): pixel (i, j) of the map belongs to (i + 5, j + 5).
at::Tensor ssim_map(const at::Tensor& image, const at::Tensor& reference, double data_range);

// Mean of the map over the mask's pixels in the interior. NaN where there are none.
double ssim(const at::Tensor& image, const at::Tensor& reference, double data_range, const at::Tensor& mask = {});

}  // namespace leda::evaluation
