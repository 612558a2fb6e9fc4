// Where the chunks of a dataset [slice, row, column] with one chunk per slice lie in the file, so that they can be
// read without the HDF5 library and its lock.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "storage/hdf5_file.hpp"

namespace leda::storage {

struct ChunkLocation {
  std::uint64_t address = 0;      // bytes from the beginning of the file
  std::uint64_t size_bytes = 0;   // as stored; 0 where the chunk was never written
  std::uint32_t filter_mask = 0;  // bit i set: filter i of the pipeline was not applied to this chunk
};

// The filters of a dataset in order, as HDF5's registered numbers.
inline constexpr int kDeflateFilter = 1;
inline constexpr int kShuffleFilter = 2;

struct ChunkIndex {
  std::vector<int> filters;
  std::vector<ChunkLocation> chunks;  // one per slice
};

// Throws Error(data) unless `dataset` is three-dimensional and chunked by whole slices.
ChunkIndex read_chunk_index(const Hdf5File& file, const std::string& dataset);

}  // namespace leda::storage
