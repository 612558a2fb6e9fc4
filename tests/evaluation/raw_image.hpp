// Images handed to and from Python as bare float64 files, row by row.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <filesystem>
#include <fstream>

namespace leda::test {

inline void save_raw(const std::filesystem::path& path, const at::Tensor& image) {
  const at::Tensor values = image.to(at::kDouble).contiguous();
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(values.const_data_ptr()), static_cast<std::streamsize>(values.nbytes()));
}

inline at::Tensor load_raw(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns) {
  at::Tensor image = at::empty({rows, columns}, at::kDouble);
  std::ifstream file(path, std::ios::binary);
  file.read(static_cast<char*>(image.mutable_data_ptr()), static_cast<std::streamsize>(image.nbytes()));
  if (!file) image.fill_(1e300);
  return image;
}

}  // namespace leda::test
