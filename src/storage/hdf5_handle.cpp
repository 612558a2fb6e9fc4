#include "storage/hdf5_handle.hpp"

#include "storage/hdf5_calls.hpp"

namespace leda::storage {

void Hdf5Handle::close() noexcept {
  if (id_ < 0) return;
  const SilentHdf5 silent;
  H5Idec_ref(std::exchange(id_, -1));  // closes an object of any kind
}

}  // namespace leda::storage
