// All shards of a folder as one row of slices: slice id = position in the row, shards in the order of their names.
// Immutable once opened; any number of threads may read slices at once. Keeps one file open per shard.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/shards/shard_reader.hpp"

namespace leda::data {

class ShardCatalogue {
 public:
  // Throws Error(data) for a missing or empty folder, a damaged shard, or shards of different shapes.
  static ShardCatalogue open(const std::filesystem::path& folder);

  const std::filesystem::path& folder() const { return folder_; }
  std::int64_t num_slices() const { return first_slice_ids_.back(); }
  std::int64_t rows() const { return shape().rows; }
  std::int64_t columns() const { return shape().columns; }
  bool has_low_dose() const { return shape().has_low_dose; }
  bool has_tissue() const { return shape().has_tissue; }
  bool has_noise_free() const { return shape().has_noise_free; }
  const ShardShape& shape() const { return shards_.front().shape(); }

  const SliceRecord& record(std::int64_t slice_id) const;
  std::uint64_t normal_dose_checksum(std::int64_t slice_id) const;
  Slice read_slice(std::int64_t slice_id, const SliceFields& fields) const;
  // Each pseudonym once, in the order of first appearance.
  const std::vector<std::string>& patients() const { return patients_; }
  // 16 hexadecimal digits of all shards' content checksums, in order.
  const std::string& fingerprint() const { return fingerprint_; }

  const std::vector<ShardReader>& shards() const { return shards_; }

 private:
  ShardCatalogue() = default;
  std::size_t shard_of(std::int64_t slice_id) const;

  std::filesystem::path folder_;
  std::vector<ShardReader> shards_;
  std::vector<std::int64_t> first_slice_ids_;  // one more than shards: the last is the number of slices
  std::vector<std::string> patients_;
  std::string fingerprint_;
};

}  // namespace leda::data
