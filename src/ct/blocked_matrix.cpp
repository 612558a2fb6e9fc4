#include "ct/blocked_matrix.hpp"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/sparse_csr_tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

namespace leda::ct {
namespace {

// Half a million entries, 4 MB in float32: small enough for the processor's cache, large enough to make calls cheap.
constexpr std::int64_t kEntriesPerBlock = 500'000;
constexpr std::int64_t kKeptEntriesAtMost = 40'000'000;

// LibTorch says once per process that its compressed sparse rows are young; a user can do nothing about it.
class IgnoreWarnings : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};

template <typename T>
at::Tensor copy_of(std::vector<T>& numbers, at::ScalarType stored_as, at::ScalarType wanted) {
  const auto size = static_cast<std::int64_t>(numbers.size());
  return at::from_blob(numbers.data(), {size}, at::TensorOptions(stored_as)).to(wanted, false, /*copy=*/true);
}

}  // namespace

BlockedMatrix::BlockedMatrix(std::int64_t num_rows, std::int64_t num_columns, std::int64_t entries_per_row,
                             at::ScalarType precision, RowsOf rows_of)
    : num_rows_(num_rows),
      num_columns_(num_columns),
      entries_per_row_(entries_per_row),
      rows_per_block_(std::max<std::int64_t>(1, kEntriesPerBlock / entries_per_row)),
      precision_(precision),
      rows_of_(std::move(rows_of)) {
  if (num_rows * entries_per_row > kKeptEntriesAtMost) return;
  for (std::int64_t first = 0; first < num_rows_; first += rows_per_block_) kept_blocks_.push_back(block(first));
}

at::Tensor BlockedMatrix::block(std::int64_t first) const {
  SparseRows rows;
  const std::int64_t last = std::min(first + rows_per_block_, num_rows_);
  rows.reserve(last - first, (last - first) * entries_per_row_);
  rows_of_(first, last, rows);
  IgnoreWarnings ignore_warnings;
  const c10::WarningUtils::WarningHandlerGuard guard(&ignore_warnings);
  return at::sparse_csr_tensor(copy_of(rows.row_starts, at::kInt, at::kInt), copy_of(rows.columns, at::kInt, at::kInt),
                               copy_of(rows.values, at::kDouble, precision_), {last - first, num_columns_},
                               at::TensorOptions(precision_).layout(at::kSparseCsr));
}

at::Tensor BlockedMatrix::times(const at::Tensor& dense) const {
  std::vector<at::Tensor> parts;
  for (std::int64_t first = 0; first < num_rows_; first += rows_per_block_) {
    const at::Tensor rows =
        kept_blocks_.empty() ? block(first) : kept_blocks_[static_cast<std::size_t>(first / rows_per_block_)];
    parts.push_back(at::mm(rows, dense));
  }
  return parts.size() == 1 ? parts.front() : at::cat(parts);
}

}  // namespace leda::ct
