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

class Hdf5ChunkWriter {
 public:
  // Types: int16 and uint8. The file must outlive the writer.
  Hdf5ChunkWriter(Hdf5File& file, std::string dataset, at::ScalarType type, std::int64_t rows, std::int64_t columns,
                  int deflate_level);

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
