// A growing dataset [slice, row, column] with one chunk per slice, whose chunks arrive already shuffled and deflated:
// the writer knows the stored bytes, and their checksum, without reading the file back.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "storage/hdf5_file.hpp"

namespace leda::storage {

struct ChunkLayout {
  at::ScalarType type = at::kShort;  // or kByte
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  int deflate_level = 0;
};

class Hdf5ChunkWriter {
 public:
  // The file must outlive the writer.
  Hdf5ChunkWriter(Hdf5File& file, std::string dataset, const ChunkLayout& layout);

  void append(std::span<const std::byte> stored_chunk);
  std::int64_t num_slices() const { return num_slices_; }

 private:
  const Hdf5File* file_;
  std::string dataset_;
  Hdf5Handle handle_;
  std::int64_t rows_;
  std::int64_t columns_;
  std::int64_t num_slices_ = 0;
};

}  // namespace leda::storage
