// HDF5's shuffle and deflate filters on one chunk in memory, without HDF5: free functions for any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace leda::data {

// Shuffle (bytes of equal significance together), then zlib format at `level`.
std::vector<std::byte> encode_chunk(std::span<const std::byte> values, std::size_t element_bytes, int level);

// True for the filters decode_chunk knows.
bool is_known_filter(int filter);
// Undoes `filters`, last first, leaving out those whose bit is set in `filter_mask`. False unless the stored bytes
// give exactly `values`.
bool decode_chunk(std::span<const std::byte> stored, std::span<const int> filters, std::uint32_t filter_mask,
                  std::size_t element_bytes, std::span<std::byte> values);

}  // namespace leda::data
