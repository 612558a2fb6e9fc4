// The figures of a result table, one entry each: what is taken per image, and how it is named, printed and read. Means
// over slices, patients and seeds, the text table, JSON and CSV follow from this list; a new figure is a function in
// files of its own and one line in image_figures(). Equations and sources: docs/methods/metrics.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <span>
#include <vector>

#include "ct/hounsfield.hpp"

namespace leda::evaluation {

struct ImageFigure {
  const char* name;   // in JSON and CSV, with its unit: "rmse_hu"
  const char* label;  // in the text table: "RMSE (HU)"
  int num_digits;     // after the point, in the text table
  int column_width;   // of the text table, that of "17.42 +/- 0.21" at least
  bool is_larger_better;
  // image_hu, reference_hu: H x W, float64, clipped to the window. mask: H x W, not zero where a pixel counts;
  // undefined: everywhere.
  double (*measure)(const at::Tensor& image_hu, const at::Tensor& reference_hu, const at::Tensor& mask,
                    const ct::Window& window);
};

// In the order of all that is printed and written.
std::span<const ImageFigure> image_figures();
// The entry by which filters are tuned, methods compared and gains reckoned.
inline constexpr std::size_t kRmseFigure = 0;

// In the order of image_figures().
using FigureValues = std::vector<double>;

// Of one slice; both images are clipped to the window here.
FigureValues measure_image(const at::Tensor& image_hu, const at::Tensor& reference_hu, const ct::Window& window,
                           const at::Tensor& mask = {});

}  // namespace leda::evaluation
