#include "evaluation/body_mask.hpp"

#include <ATen/ops/zeros.h>

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

namespace leda::evaluation {
namespace {

using Step = std::pair<std::int64_t, std::int64_t>;
constexpr std::array<Step, 4> kSides{{{-1, 0}, {1, 0}, {0, -1}, {0, 1}}};
constexpr std::array<Step, 8> kSidesAndCorners{{{-1, 0}, {1, 0}, {0, -1}, {0, 1}, {-1, -1}, {-1, 1}, {1, -1}, {1, 1}}};

struct Grid {
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t size() const { return rows * columns; }
};

// Gives every pixel labelled `from` that is connected to a seed the label `to`; returns how many.
template <std::size_t N>
std::int64_t flood(std::vector<std::int64_t>& labels, const Grid& grid, std::vector<std::int64_t> seeds,
                   const std::array<Step, N>& steps, std::int64_t from, std::int64_t to) {
  std::int64_t count = 0;
  while (!seeds.empty()) {
    const std::int64_t pixel = seeds.back();
    seeds.pop_back();
    auto& label = labels[static_cast<std::size_t>(pixel)];
    if (label != from) continue;
    label = to;
    ++count;
    const std::int64_t row = pixel / grid.columns;
    const std::int64_t column = pixel % grid.columns;
    for (const auto& [down, right] : steps) {
      const std::int64_t r = row + down;
      const std::int64_t c = column + right;
      if (r >= 0 && r < grid.rows && c >= 0 && c < grid.columns) seeds.push_back(r * grid.columns + c);
    }
  }
  return count;
}

std::vector<std::int64_t> border_pixels(const Grid& grid) {
  std::vector<std::int64_t> pixels;
  for (std::int64_t pixel = 0; pixel < grid.size(); ++pixel) {
    const std::int64_t row = pixel / grid.columns;
    const std::int64_t column = pixel % grid.columns;
    if (row == 0 || row == grid.rows - 1 || column == 0 || column == grid.columns - 1) pixels.push_back(pixel);
  }
  return pixels;
}

constexpr std::int64_t kDense = 0;
constexpr std::int64_t kAir = -1;
constexpr std::int64_t kOutside = -2;

std::vector<std::int64_t> air_and_dense(const at::Tensor& normal_dose_hu) {
  const at::Tensor values = normal_dose_hu.to(at::kDouble).contiguous();
  const double* hu = values.const_data_ptr<double>();
  std::vector<std::int64_t> labels(static_cast<std::size_t>(values.numel()));
  for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = hu[i] < kBodyThresholdHu ? kAir : kDense;
  return labels;
}

}  // namespace

at::Tensor body_mask(const at::Tensor& normal_dose_hu) {
  const Grid grid{normal_dose_hu.size(0), normal_dose_hu.size(1)};
  std::vector<std::int64_t> labels = air_and_dense(normal_dose_hu);
  flood(labels, grid, border_pixels(grid), kSides, kAir, kOutside);
  for (auto& label : labels) {
    if (label == kAir) label = kDense;  // enclosed gas
  }

  std::int64_t num_components = 0;
  std::int64_t largest = 0;
  std::int64_t largest_size = 0;
  for (std::int64_t pixel = 0; pixel < grid.size(); ++pixel) {
    if (labels[static_cast<std::size_t>(pixel)] != kDense) continue;
    const std::int64_t size = flood(labels, grid, {pixel}, kSidesAndCorners, kDense, ++num_components);
    if (size <= largest_size) continue;
    largest = num_components;
    largest_size = size;
  }

  at::Tensor mask = at::zeros({grid.rows, grid.columns}, at::kByte);
  auto* inside = mask.mutable_data_ptr<std::uint8_t>();
  for (std::size_t i = 0; i < labels.size(); ++i) inside[i] = largest > 0 && labels[i] == largest ? 1 : 0;
  return mask;
}

}  // namespace leda::evaluation
