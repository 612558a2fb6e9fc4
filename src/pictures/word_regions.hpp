// Regions of a token map: cells of one word that touch by an edge, and where each region is captioned. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leda::pictures {

// The longest run of cells in one row of a region; of equal runs the one nearest to the region's middle row.
struct WordRegion {
  std::int64_t word = 0;
  std::int64_t row = 0;
  std::int64_t first_column = 0;
  std::int64_t num_columns = 0;
};

// cells: rows x columns, int64; cells below 0 belong to no region. In the order of each region's first cell.
std::vector<WordRegion> word_regions(const at::Tensor& cells);

}  // namespace leda::pictures
