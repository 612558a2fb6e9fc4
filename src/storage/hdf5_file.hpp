// An HDF5 file, by the names of what it holds. Reading failures throw Error(data), writing failures Error(storage);
// both name file and object and carry HDF5's own reason, which is printed nowhere else. Files opened for reading take
// no file lock (shared file systems refuse them). The library has one lock for all calls: use a file from one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "storage/hdf5_handle.hpp"

namespace leda::storage {

class Hdf5File {
 public:
  static Hdf5File open_read(const std::filesystem::path& path);
  // Reads from a copy of `bytes`; messages call the file `name_for_messages`.
  static Hdf5File from_memory(std::span<const std::byte> bytes, const std::string& name_for_messages);
  // A new file; replaces one of the same name. Nothing in it depends on the time of writing.
  static Hdf5File create(const std::filesystem::path& path);

  const std::string& name() const { return name_; }
  std::int64_t id() const { return handle_.id(); }
  // Throws Error(storage) where the last bytes could not be written; the destructor closes too, silently.
  void close();

  bool has(const std::string& object) const;
  std::vector<std::int64_t> shape_of(const std::string& dataset) const;
  // Type a dataset is read as. Throws Error(data) for types without a tensor counterpart, texts included.
  at::ScalarType type_of(const std::string& dataset) const;

  // Numbers: uint8, int8, int16, int32, int64, uint64, float16, float32, float64.
  at::Tensor read_tensor(const std::string& dataset) const;
  void write_tensor(const std::string& dataset, const at::Tensor& values);
  // One-dimensional arrays of texts, of fixed or variable length. Written as fixed length, UTF-8, zero padded.
  std::vector<std::string> read_texts(const std::string& dataset) const;
  void write_texts(const std::string& dataset, const std::vector<std::string>& texts);

  // Attributes of the root group.
  bool has_attribute(const std::string& name) const;
  std::string read_text_attribute(const std::string& name) const;
  std::int64_t read_integer_attribute(const std::string& name) const;
  double read_number_attribute(const std::string& name) const;
  void write_text_attribute(const std::string& name, const std::string& value);
  void write_integer_attribute(const std::string& name, std::int64_t value);
  void write_number_attribute(const std::string& name, double value);

 private:
  Hdf5File(Hdf5Handle handle, std::string name) : handle_(std::move(handle)), name_(std::move(name)) {}

  Hdf5Handle handle_;
  std::string name_;
};

}  // namespace leda::storage
