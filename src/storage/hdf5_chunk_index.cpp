#include "storage/hdf5_chunk_index.hpp"

#include <array>

#include "storage/hdf5_calls.hpp"

namespace leda::storage {
namespace {

std::vector<int> filters_of(const Hdf5Handle& creation) {
  std::vector<int> filters;
  const int count = H5Pget_nfilters(creation.id());
  for (int i = 0; i < count; ++i) {
    unsigned flags = 0;
    std::size_t num_values = 0;
    filters.push_back(
        H5Pget_filter2(creation.id(), static_cast<unsigned>(i), &flags, &num_values, nullptr, 0, nullptr, nullptr));
  }
  return filters;
}

}  // namespace

ChunkIndex read_chunk_index(const Hdf5File& file, const std::string& dataset) {
  const std::vector<std::int64_t> shape = file.shape_of(dataset);
  const SilentHdf5 silent;
  const Hdf5Handle handle(H5Dopen2(file.id(), dataset.c_str(), H5P_DEFAULT));
  const Hdf5Handle creation(H5Dget_create_plist(handle.id()));
  std::array<hsize_t, 3> chunk{};
  const bool one_chunk_a_slice = shape.size() == 3 && H5Pget_layout(creation.id()) == H5D_CHUNKED &&
                                 H5Pget_chunk(creation.id(), 3, chunk.data()) == 3 && chunk[0] == 1 &&
                                 chunk[1] == static_cast<hsize_t>(shape[1]) &&
                                 chunk[2] == static_cast<hsize_t>(shape[2]);
  if (!one_chunk_a_slice) {
    throw_hdf5_error(base::ExitCode::data, file.name(), dataset, "is not stored as one chunk per slice");
  }
  ChunkIndex index{filters_of(creation), {}};
  index.chunks.reserve(static_cast<std::size_t>(shape[0]));
  for (std::int64_t slice = 0; slice < shape[0]; ++slice) {
    const std::array<hsize_t, 3> offset{static_cast<hsize_t>(slice), 0, 0};
    unsigned filter_mask = 0;
    haddr_t address = HADDR_UNDEF;
    hsize_t size = 0;
    if (H5Dget_chunk_info_by_coord(handle.id(), offset.data(), &filter_mask, &address, &size) < 0) {
      throw_hdf5_error(base::ExitCode::data, file.name(), dataset, "the index of its chunks cannot be read");
    }
    const bool is_written = address != HADDR_UNDEF;
    index.chunks.push_back({is_written ? address : 0, is_written ? size : 0, filter_mask});
  }
  return index;
}

}  // namespace leda::storage
