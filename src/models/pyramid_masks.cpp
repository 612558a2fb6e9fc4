#include "models/pyramid_masks.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/error.hpp"

namespace leda::models {
namespace {

bool is_pyramid(const std::vector<int>& strides) {
  if (strides.empty() || strides.back() != 1) return false;
  for (std::size_t i = 1; i < strides.size(); ++i) {
    if (strides[i] <= 0 || strides[i] >= strides[i - 1] || strides[i - 1] % strides[i] != 0) return false;
  }
  return true;
}

// How many of offset, offset + stride, ... are below `size`.
std::int64_t num_steps(std::int64_t size, std::int64_t offset, std::int64_t stride) {
  return size <= offset ? 0 : (size - offset + stride - 1) / stride;
}

}  // namespace

std::vector<PyramidLevel> pyramid_levels(const std::vector<int>& strides, std::int64_t height, std::int64_t width) {
  if (!is_pyramid(strides)) {
    throw base::Error(
        base::ExitCode::options,
        {.what = "autoencoder.strides makes no token pyramid",
         .value = fmt::format("{}", fmt::join(strides, ",")),
         .why = "every level's positions must lie among the next level's, and the last level covers the map",
         .remedy = "falling numbers that end in 1, each dividing the one before: 16,4,1 for example"});
  }
  // The middle of the coarsest cell (its upper left position), seen from every finer grid: this nests the levels.
  const std::int64_t centre = std::max(strides.front() / 2 - 1, 0);
  std::vector<PyramidLevel> levels;
  for (const int stride : strides) {
    const std::int64_t offset = centre % stride;
    levels.push_back({stride, offset, num_steps(height, offset, stride), num_steps(width, offset, stride)});
  }
  return levels;
}

}  // namespace leda::models
