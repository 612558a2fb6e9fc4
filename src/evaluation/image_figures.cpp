#include "evaluation/image_figures.hpp"

#include <ATen/TensorOperators.h>

#include <array>

#include "evaluation/image_metrics.hpp"

namespace leda::evaluation {
namespace {

double rmse_figure(const at::Tensor& image_hu, const at::Tensor& reference_hu, const at::Tensor& mask,
                   const ct::Window&) {
  return rmse(image_hu, reference_hu, mask);
}

double psnr_figure(const at::Tensor& image_hu, const at::Tensor& reference_hu, const at::Tensor& mask,
                   const ct::Window& window) {
  return psnr_db(image_hu, reference_hu, window.range_hu(), mask);
}

// Both images from 0 to the window's range.
double ssim_figure(const at::Tensor& image_hu, const at::Tensor& reference_hu, const at::Tensor& mask,
                   const ct::Window& window) {
  return ssim(image_hu - window.low_hu, reference_hu - window.low_hu, window.range_hu(), mask);
}

constexpr std::array kImageFigures{
    ImageFigure{"rmse_hu", "RMSE (HU)", 2, 16, false, rmse_figure},
    ImageFigure{"psnr_db", "PSNR (dB)", 2, 16, true, psnr_figure},
    ImageFigure{"ssim", "SSIM", 4, 19, true, ssim_figure},
};

}  // namespace

std::span<const ImageFigure> image_figures() { return kImageFigures; }

FigureValues measure_image(const at::Tensor& image_hu, const at::Tensor& reference_hu, const ct::Window& window,
                           const at::Tensor& mask) {
  const at::Tensor image = clipped_hu(image_hu, window);
  const at::Tensor reference = clipped_hu(reference_hu, window);
  FigureValues values;
  for (const ImageFigure& figure : kImageFigures) values.push_back(figure.measure(image, reference, mask, window));
  return values;
}

}  // namespace leda::evaluation
