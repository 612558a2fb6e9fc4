#include "pictures/word_regions.hpp"

#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace leda::pictures {
namespace {

using Cell = std::pair<std::int64_t, std::int64_t>;  // row, column

// All cells of the region of `start`, which are marked as seen.
std::vector<Cell> flood(const at::TensorAccessor<std::int64_t, 2>& words, at::TensorAccessor<bool, 2>& seen,
                        const Cell& start) {
  std::vector<Cell> found{start};
  seen[start.first][start.second] = true;
  for (std::size_t next = 0; next < found.size(); ++next) {
    const auto [row, column] = found[next];
    for (const auto& [r, c] : {Cell{row - 1, column}, {row + 1, column}, {row, column - 1}, {row, column + 1}}) {
      if (r < 0 || c < 0 || r >= words.size(0) || c >= words.size(1) || seen[r][c]) continue;
      if (words[r][c] != words[start.first][start.second]) continue;
      seen[r][c] = true;
      found.emplace_back(r, c);
    }
  }
  return found;
}

WordRegion caption_place(const at::TensorAccessor<std::int64_t, 2>& words, const std::vector<Cell>& cells) {
  std::int64_t twice_middle = 0, lowest = cells.front().first;
  for (const Cell& cell : cells) lowest = std::max(lowest, cell.first);
  twice_middle = cells.front().first + lowest;  // the first cell lies in the uppermost row
  WordRegion best;
  for (const auto& [row, column] : cells) {
    const std::int64_t word = words[row][column];
    if (column > 0 && words[row][column - 1] == word) continue;  // not the start of a run
    std::int64_t end = column;
    while (end < words.size(1) && words[row][end] == word) ++end;
    const bool is_longer = end - column > best.num_columns;
    const bool is_nearer = std::abs(2 * row - twice_middle) < std::abs(2 * best.row - twice_middle);
    if (is_longer || (end - column == best.num_columns && is_nearer)) best = {word, row, column, end - column};
  }
  return best;
}

}  // namespace

std::vector<WordRegion> word_regions(const at::Tensor& cells) {
  const at::Tensor contiguous = cells.contiguous();
  const auto words = contiguous.accessor<std::int64_t, 2>();
  const at::Tensor marks = at::zeros(cells.sizes(), at::kBool);
  auto seen = marks.accessor<bool, 2>();
  std::vector<WordRegion> regions;
  for (std::int64_t r = 0; r < words.size(0); ++r) {
    for (std::int64_t c = 0; c < words.size(1); ++c) {
      if (words[r][c] < 0 || seen[r][c]) continue;
      regions.push_back(caption_place(words, flood(words, seen, {r, c})));
    }
  }
  return regions;
}

}  // namespace leda::pictures
