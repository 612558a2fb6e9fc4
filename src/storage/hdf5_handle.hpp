// Owner of one HDF5 identifier of any kind (file, dataset, type, property list): closes it in its destructor.
// HDF5's own header stays out of ours: an identifier is a 64-bit number (hid_t since 1.10).
#pragma once

#include <cstdint>
#include <utility>

namespace leda::storage {

class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  explicit Hdf5Handle(std::int64_t id) : id_(id) {}
  ~Hdf5Handle() { close(); }
  Hdf5Handle(Hdf5Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Hdf5Handle& operator=(Hdf5Handle&& other) noexcept {
    if (this != &other) {
      close();
      id_ = std::exchange(other.id_, -1);
    }
    return *this;
  }

  std::int64_t id() const { return id_; }
  bool is_open() const { return id_ >= 0; }
  void close() noexcept;

 private:
  std::int64_t id_ = -1;
};

}  // namespace leda::storage
