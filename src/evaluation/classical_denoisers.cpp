#include "evaluation/classical_denoisers.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/reflection_pad2d.h>
#include <ATen/ops/replication_pad2d.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "evaluation/separable_filter.hpp"

namespace leda::evaluation {
namespace {

// Squared differences of an image and itself moved by one offset, summed over patches. Rows and columns are those of
// the padded image.
class PatchDistances {
 public:
  PatchDistances(const double* padded, std::int64_t stride, std::int64_t patch_size)
      : padded_(padded), stride_(stride), patch_size_(patch_size) {}

  // out[c] = sum of squared differences over the patch whose upper left corner is (row, first_column + c).
  void row_of_sums(std::int64_t row, std::int64_t first_column, std::int64_t offset, std::vector<double>& out) {
    const std::size_t num_columns = out.size() + static_cast<std::size_t>(patch_size_) - 1;
    column_sums_.assign(num_columns, 0.0);
    for (std::int64_t r = row; r < row + patch_size_; ++r) {
      const double* here = padded_ + r * stride_ + first_column;
      const double* there = here + offset;
      for (std::size_t c = 0; c < num_columns; ++c) {
        const double difference = here[c] - there[c];
        column_sums_[c] += difference * difference;
      }
    }
    std::fill(out.begin(), out.end(), 0.0);
    for (std::size_t k = 0; k < static_cast<std::size_t>(patch_size_); ++k) {
      for (std::size_t c = 0; c < out.size(); ++c) out[c] += column_sums_[c + k];
    }
  }

 private:
  const double* padded_;
  std::int64_t stride_;
  std::int64_t patch_size_;
  std::vector<double> column_sums_;
};

}  // namespace

at::Tensor gaussian_filter(const at::Tensor& image, double sigma) {
  const auto radius = static_cast<std::int64_t>(4.0 * sigma + 0.5);
  const at::Tensor stacked = image.to(at::kDouble).unsqueeze(0);
  if (radius == 0) return stacked.squeeze(0);
  const at::Tensor padded = at::replication_pad2d(stacked, {radius, radius, radius, radius});
  return filter_valid(padded, gaussian_kernel(sigma, radius)).squeeze(0);
}

at::Tensor non_local_means(const at::Tensor& image, double h, const NonLocalMeansOptions& options) {
  const std::int64_t rows = image.size(0);
  const std::int64_t columns = image.size(1);
  const std::int64_t reach = options.patch_distance;
  const std::int64_t margin = reach + options.patch_size / 2;
  const at::Tensor padded =
      at::reflection_pad2d(image.to(at::kDouble).unsqueeze(0), {margin, margin, margin, margin}).contiguous();
  const double* pixels = padded.const_data_ptr<double>();
  const std::int64_t stride = columns + 2 * margin;
  const double scale = -1.0 / (h * h * static_cast<double>(options.patch_size * options.patch_size));

  at::Tensor result = at::empty({rows, columns}, at::kDouble);
  PatchDistances distances(pixels, stride, options.patch_size);
  const auto width = static_cast<std::size_t>(columns);
  std::vector<double> sums(width), weights(width), values(width);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::fill(weights.begin(), weights.end(), 0.0);
    std::fill(values.begin(), values.end(), 0.0);
    const double* centre = pixels + (row + margin) * stride + margin;
    for (std::int64_t down = -reach; down <= reach; ++down) {
      for (std::int64_t right = -reach; right <= reach; ++right) {
        const std::int64_t offset = down * stride + right;
        distances.row_of_sums(row + reach, reach, offset, sums);
        for (std::size_t c = 0; c < width; ++c) {
          const double weight = std::exp(sums[c] * scale);
          weights[c] += weight;
          values[c] += weight * centre[static_cast<std::int64_t>(c) + offset];
        }
      }
    }
    double* out = result.mutable_data_ptr<double>() + row * columns;
    for (std::size_t c = 0; c < width; ++c) out[c] = values[c] / weights[c];
  }
  return result;
}

TunedParameter tune_parameter(const std::function<double(double)>& cost, double low, double high, int num_evaluations) {
  const double golden = 1.0 / std::numbers::phi;
  double left = std::log(low);
  double right = std::log(high);
  TunedParameter best{.value = 0.0, .cost = std::numeric_limits<double>::infinity()};
  const auto cost_of_log = [&](double x) {
    const double value = std::exp(x);
    const double result = cost(value);
    if (result < best.cost) best = {.value = value, .cost = result};
    return result;
  };
  double inner_left = right - golden * (right - left);
  double inner_right = left + golden * (right - left);
  double cost_left = cost_of_log(inner_left);
  double cost_right = cost_of_log(inner_right);
  for (int evaluation = 2; evaluation < num_evaluations; ++evaluation) {
    if (cost_left < cost_right) {
      right = inner_right;
      inner_right = inner_left;
      cost_right = cost_left;
      inner_left = right - golden * (right - left);
      cost_left = cost_of_log(inner_left);
    } else {
      left = inner_left;
      inner_left = inner_right;
      cost_left = cost_right;
      inner_right = left + golden * (right - left);
      cost_right = cost_of_log(inner_right);
    }
  }
  return best;
}

}  // namespace leda::evaluation
