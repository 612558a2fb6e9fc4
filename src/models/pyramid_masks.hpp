// Where the levels of the token pyramid sit on a latent map: a level takes one position out of stride x stride, and
// the coarser levels' positions lie among the finer ones'. Pure functions of strides and map size. The rule equals the
// published masks (7::16, 3::4, all) on 32 x 32 maps and covers any other size.
#pragma once

#include <cstdint>
#include <vector>

namespace leda::models {

// The positions offset, offset + stride, ... of both axes.
struct PyramidLevel {
  std::int64_t stride = 1;
  std::int64_t offset = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;

  // Small maps have no position for the coarse levels. Such a level is skipped everywhere and never renumbered.
  bool exists() const { return rows > 0 && columns > 0; }
  std::int64_t num_positions() const { return rows * columns; }
};

// One entry per stride, absent levels included. Strides fall strictly, each divides the one before, the last is 1;
// throws Error(options) otherwise.
std::vector<PyramidLevel> pyramid_levels(const std::vector<int>& strides, std::int64_t height, std::int64_t width);

}  // namespace leda::models
