// Reads one shard. Everything but the pixels is read and validated when it is opened; then HDF5 is done with, and
// slices are read by pread and inflated on the calling thread: any number of threads may read at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/shards/shard_format.hpp"
#include "data/shards/slice.hpp"
#include "storage/hdf5_chunk_index.hpp"

namespace leda::data {

class ShardReader {
 public:
  // Throws Error(data) that names file and field.
  explicit ShardReader(std::filesystem::path path);
  ~ShardReader();
  ShardReader(ShardReader&&) noexcept;
  ShardReader& operator=(ShardReader&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  const ShardShape& shape() const { return shape_; }
  std::int64_t num_slices() const { return static_cast<std::int64_t>(records_.size()); }
  const SliceRecord& record(std::int64_t index) const { return records_.at(static_cast<std::size_t>(index)); }
  // Of the chunk that holds a slice's normal-dose image, as stored: which image it is.
  std::uint64_t normal_dose_checksum(std::int64_t index) const;
  const std::string& creator() const { return creator_; }
  std::uint64_t content_checksum() const { return content_checksum_; }

  // Checks the checksum of each chunk it reads.
  Slice read_slice(std::int64_t index, const SliceFields& fields) const;
  // Reads every chunk of every image; throws Error(data) that names the first damaged one.
  void verify() const;

 private:
  struct Image {
    ImageField field;
    storage::ChunkIndex index;
    std::vector<std::uint64_t> checksums;
  };
  void read_images(const storage::Hdf5File& file);
  void read_records(const storage::Hdf5File& file);
  at::Tensor read_image(const Image& image, std::int64_t index) const;

  std::filesystem::path path_;
  int descriptor_ = -1;
  ShardShape shape_;
  std::string creator_;
  std::vector<SliceRecord> records_;
  std::vector<Image> images_;
  std::uint64_t content_checksum_ = 0;
};

}  // namespace leda::data
