// Writes one shard. It grows under a temporary name and takes its own name only in finish(), complete and synced; an
// unfinished one vanishes with its writer. Same slices, same bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "data/shards/shard_format.hpp"
#include "data/shards/slice.hpp"

namespace leda::data {

class ShardWriter {
 public:
  // `creator` says what made the slices, with all parameters; it is part of the content.
  ShardWriter(std::filesystem::path path, const ShardShape& shape, const std::string& creator = "");
  ~ShardWriter();
  ShardWriter(ShardWriter&&) noexcept;
  ShardWriter& operator=(ShardWriter&&) = delete;

  // The images the shape names, and no others.
  void append(const Slice& slice);
  // At least one slice must have been appended. Returns the shard's content checksum.
  std::uint64_t finish();

 private:
  class Body;
  std::unique_ptr<Body> body_;
};

}  // namespace leda::data
