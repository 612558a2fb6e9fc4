// Names and constants of shard format version 1, shared by reader and writer. The format's page: docs/formats/shard.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/shards/slice.hpp"

namespace leda::data {

inline constexpr const char* kShardFormatName = "leda shard";
inline constexpr std::int64_t kShardFormatVersion = 1;
inline constexpr int kShardDeflateLevel = 4;
inline constexpr const char* kShardExtension = ".h5";

// Attributes of the root group.
inline constexpr const char* kFormatAttribute = "format";
inline constexpr const char* kVersionAttribute = "version";
inline constexpr const char* kCreatorAttribute = "creator";
inline constexpr const char* kContentChecksumAttribute = "content_checksum";

// Images [slice, row, column], one chunk per slice.
inline constexpr const char* kNormalDose = "normal_dose";
inline constexpr const char* kLowDose = "low_dose";
inline constexpr const char* kTissue = "tissue";
inline constexpr const char* kNoiseFree = "noise_free";

// Per slice.
inline constexpr const char* kSpacing = "spacing_mm";  // [slice, 3]
inline constexpr const char* kPatient = "patient";
inline constexpr const char* kSeries = "series";
inline constexpr const char* kPosition = "position_mm";
inline constexpr const char* kDoseFraction = "dose_fraction";

struct ImageField {
  const char* name;
  at::ScalarType type;
};
// In the order in which they enter the content checksum.
inline constexpr std::array<ImageField, 4> kImageFields{
    {{kNormalDose, at::kShort}, {kLowDose, at::kShort}, {kTissue, at::kByte}, {kNoiseFree, at::kShort}}};

// Checksums of the stored chunks of an image: "normal_dose" -> "normal_dose_checksum".
inline std::string chunk_checksum_name(const std::string& image) { return image + "_checksum"; }

// Which images a shard holds and how large they are; equal in all shards of a data set.
struct ShardShape {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool has_low_dose = false;
  bool has_tissue = false;
  bool has_noise_free = false;

  bool operator==(const ShardShape&) const = default;
};

// By name; an unknown name is a mistake of ours.
bool has_image(const ShardShape& shape, const std::string& image);

// XXH3-64 of all that a shard says beside pixels, and of the checksums of its stored chunks, by image.
std::uint64_t content_checksum_of(const ShardShape& shape, const std::string& creator,
                                  const std::vector<SliceRecord>& records,
                                  const std::map<std::string, std::vector<std::uint64_t>>& chunk_checksums);

// Of a whole data set, from the content checksums of its shards in order: 16 hexadecimal digits.
std::string fingerprint_of(const std::vector<std::uint64_t>& content_checksums);

}  // namespace leda::data
