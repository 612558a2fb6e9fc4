#include "data/shards/chunk_codec.hpp"

#include <libdeflate.h>

#include <algorithm>
#include <memory>

#include "base/error.hpp"
#include "storage/hdf5_chunk_index.hpp"

namespace leda::data {
namespace {

void shuffle(std::span<const std::byte> values, std::size_t element_bytes, std::span<std::byte> planes) {
  const std::size_t count = values.size() / element_bytes;
  for (std::size_t plane = 0; plane < element_bytes; ++plane) {
    for (std::size_t i = 0; i < count; ++i) planes[plane * count + i] = values[i * element_bytes + plane];
  }
}

void unshuffle(std::span<const std::byte> planes, std::size_t element_bytes, std::span<std::byte> values) {
  const std::size_t count = values.size() / element_bytes;
  for (std::size_t plane = 0; plane < element_bytes; ++plane) {
    for (std::size_t i = 0; i < count; ++i) values[i * element_bytes + plane] = planes[plane * count + i];
  }
}

// Only the result's size is known beforehand, which is enough: each filter keeps it or makes it.
bool inflate(std::span<const std::byte> stored, std::span<std::byte> values) {
  const std::unique_ptr<libdeflate_decompressor, decltype(&libdeflate_free_decompressor)> decompressor(
      libdeflate_alloc_decompressor(), libdeflate_free_decompressor);
  return libdeflate_zlib_decompress(decompressor.get(), stored.data(), stored.size(), values.data(), values.size(),
                                    nullptr) == LIBDEFLATE_SUCCESS;
}

}  // namespace

std::vector<std::byte> encode_chunk(std::span<const std::byte> values, std::size_t element_bytes, int level) {
  std::vector<std::byte> planes(values.size());
  shuffle(values, element_bytes, planes);
  const std::unique_ptr<libdeflate_compressor, decltype(&libdeflate_free_compressor)> compressor(
      libdeflate_alloc_compressor(level), libdeflate_free_compressor);
  std::vector<std::byte> stored(libdeflate_zlib_compress_bound(compressor.get(), planes.size()));
  stored.resize(libdeflate_zlib_compress(compressor.get(), planes.data(), planes.size(), stored.data(), stored.size()));
  return stored;
}

bool is_known_filter(int filter) { return filter == storage::kShuffleFilter || filter == storage::kDeflateFilter; }

bool decode_chunk(std::span<const std::byte> stored, std::span<const int> filters, std::uint32_t filter_mask,
                  std::size_t element_bytes, std::span<std::byte> values) {
  std::vector<std::byte> current;
  std::span<const std::byte> source = stored;
  for (std::size_t i = filters.size(); i-- > 0;) {
    if ((filter_mask >> i & 1U) != 0) continue;
    std::vector<std::byte> result(values.size());
    if (filters[i] == storage::kDeflateFilter) {
      if (!inflate(source, result)) return false;
    } else {
      if (source.size() != values.size()) return false;
      unshuffle(source, element_bytes, result);
    }
    current = std::move(result);
    source = current;
  }
  if (source.size() != values.size()) return false;
  std::copy(source.begin(), source.end(), values.begin());
  return true;
}

}  // namespace leda::data
