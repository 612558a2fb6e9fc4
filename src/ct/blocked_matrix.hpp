// A sparse matrix in blocks of rows, applied to dense matrices by LibTorch. Blocks are kept where all of them fit into
// memory; otherwise each product builds them afresh, one at a time. Immutable: const functions may be called from
// several threads at once.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace leda::ct {

// The entries of some rows in order, as compressed sparse rows.
struct SparseRows {
  std::vector<std::int32_t> row_starts{0};  // one more than there are rows
  std::vector<std::int32_t> columns;        // ascending within a row
  std::vector<double> values;

  void reserve(std::int64_t num_rows, std::int64_t num_entries) {
    row_starts.reserve(static_cast<std::size_t>(num_rows) + 1);
    columns.reserve(static_cast<std::size_t>(num_entries));
    values.reserve(static_cast<std::size_t>(num_entries));
  }
  void add(std::int64_t column, double value) {
    columns.push_back(static_cast<std::int32_t>(column));
    values.push_back(value);
  }
  void end_row() { row_starts.push_back(static_cast<std::int32_t>(columns.size())); }
};

class BlockedMatrix {
 public:
  // Rows `first` up to, and without, `last`.
  using RowsOf = std::function<void(std::int64_t first, std::int64_t last, SparseRows& rows)>;

  // `rows_of` must be a pure function; it may be called at any time while the matrix lives.
  BlockedMatrix(std::int64_t num_rows, std::int64_t num_columns, std::int64_t entries_per_row, at::ScalarType precision,
                RowsOf rows_of);

  // [columns, any] -> [rows, any], dense, in the matrix's precision.
  at::Tensor times(const at::Tensor& dense) const;

 private:
  at::Tensor block(std::int64_t first) const;

  std::int64_t num_rows_;
  std::int64_t num_columns_;
  std::int64_t entries_per_row_;  // at most
  std::int64_t rows_per_block_;
  at::ScalarType precision_;
  RowsOf rows_of_;
  std::vector<at::Tensor> kept_blocks_;  // sparse CSR; empty where they would not fit
};

}  // namespace leda::ct
