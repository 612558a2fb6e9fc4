// Denoisers without learning, the classical baselines of every result table: a Gaussian filter and non-local means,
// each with one parameter chosen on validation slices. Pure functions, one thread, double precision.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>

namespace leda::evaluation {

// Separable Gaussian of `sigma` pixels, cut at 4 sigma, border pixels repeated. H x W, float64 result.
at::Tensor gaussian_filter(const at::Tensor& image, double sigma);

struct NonLocalMeansOptions {
  std::int64_t patch_size = 5;      // side of the compared patches, pixels; odd
  std::int64_t patch_distance = 6;  // patches are sought up to this many pixels away along either axis
};

// Non-local means (Buades, Coll, Morel, CVPR 2005) with patches of equal weight: each pixel becomes the mean of those
// around it, weighted by w = exp(-d / h^2), where d is the mean squared difference of the two pixels' patches. Beyond
// the border the image is mirrored (edge not repeated). `h` in the image's unit, > 0; sides > patch_distance +
// patch_size / 2. H x W, float64 result.
at::Tensor non_local_means(const at::Tensor& image, double h, const NonLocalMeansOptions& options = {});

// The minimum of a function of one positive parameter by golden-section search on its logarithm, num_evaluations >= 3.
// The best value evaluated is returned.
struct TunedParameter {
  double value = 0.0;
  double cost = 0.0;
};
TunedParameter tune_parameter(const std::function<double(double)>& cost, double low, double high, int num_evaluations);

}  // namespace leda::evaluation
