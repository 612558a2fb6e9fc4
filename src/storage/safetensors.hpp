// Named tensors in one file, in the safetensors format (https://github.com/huggingface/safetensors): a little-endian
// u64 header length, a JSON header of names, types, shapes and offsets, then the values without gaps. Equal archives
// give equal bytes. Types: float64, float32, float16, bfloat16, int64, int32, int16, uint8, bool.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "storage/durable_file.hpp"

namespace leda::storage {

// Tensors in file order. Any device and strides when saved; contiguous, on the CPU, without gradient when loaded, those
// of a file in one block of memory that lives as long as any of them.
struct TensorArchive {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::map<std::string, std::string> metadata;
};

// Writes and fsyncs, and says what was written; the file is not there atomically (write into a new name or folder and
// rename). Error(storage) where the disk refuses, Error(internal) for a repeated name or a type not listed above.
WrittenFile save_safetensors(const std::filesystem::path& path, const TensorArchive& archive,
                             const Progress& progress = {});

// Reads and validates everything before the first tensor is made: lengths, types, shapes, offsets, names.
// Error(data) that names the file, the tensor and the field.
TensorArchive load_safetensors(const std::filesystem::path& path);

// As load_safetensors, in one pass over the file, with the size and checksum of the bytes that the tensors came from.
struct ReadArchive {
  TensorArchive archive;
  std::uint64_t num_bytes = 0;
  std::uint64_t checksum = 0;
};
ReadArchive read_safetensors(const std::filesystem::path& path, const Progress& progress = {});

}  // namespace leda::storage
