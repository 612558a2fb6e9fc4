// For the hdf5_*.cpp files only: calls into the library that stay silent and become Error with HDF5's own reason.
#pragma once

#include <ATen/core/Tensor.h>
#include <hdf5.h>

#include <string>

#include "base/exit_code.hpp"
#include "storage/hdf5_handle.hpp"

namespace leda::storage {

// While it lives, HDF5 prints nothing on this thread.
class SilentHdf5 {
 public:
  SilentHdf5();
  ~SilentHdf5();
  SilentHdf5(const SilentHdf5&) = delete;
  SilentHdf5& operator=(const SilentHdf5&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

// Error(data) or Error(storage) of a failed call on `object` of `file`.
[[noreturn]] void throw_hdf5_error(base::ExitCode exit_code, const std::string& file, const std::string& object,
                                   const std::string& failure);

// The type's HDF5 counterpart, little-endian as in the file. Float16 is described field by field: 1.10 has no name for
// it. `object` and `file` are for the message.
Hdf5Handle hdf5_type_of(at::ScalarType type, const std::string& file, const std::string& object);

}  // namespace leda::storage
