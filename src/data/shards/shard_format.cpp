#include "data/shards/shard_format.hpp"

#include <cassert>
#include <span>

#include "storage/checksum.hpp"

namespace leda::data {
namespace {

// The content as one row of bytes: numbers little-endian, texts after their length.
class Content {
 public:
  template <typename Number>
  void add(Number number) {
    checksum_.update(std::as_bytes(std::span(&number, 1)));
  }
  void add_text(const std::string& text) {
    add(static_cast<std::uint64_t>(text.size()));
    checksum_.update(std::as_bytes(std::span(text)));
  }
  std::uint64_t checksum() const { return checksum_.value(); }

 private:
  storage::RunningChecksum checksum_;
};

}  // namespace

bool has_image(const ShardShape& shape, const std::string& image) {
  if (image == kNormalDose) return true;
  if (image == kLowDose) return shape.has_low_dose;
  if (image == kTissue) return shape.has_tissue;
  assert(image == kNoiseFree);
  return shape.has_noise_free;
}

std::uint64_t content_checksum_of(const ShardShape& shape, const std::string& creator,
                                  const std::vector<SliceRecord>& records,
                                  const std::map<std::string, std::vector<std::uint64_t>>& chunk_checksums) {
  Content content;
  content.add(kShardFormatVersion);
  content.add_text(creator);
  content.add(static_cast<std::int64_t>(records.size()));
  content.add(shape.rows);
  content.add(shape.columns);
  for (const SliceRecord& record : records) {
    for (const double spacing : record.spacing_mm) content.add(spacing);
    content.add(record.position_mm);
    content.add(record.dose_fraction);
    content.add_text(record.patient);
    content.add_text(record.series);
  }
  for (const ImageField& field : kImageFields) {
    if (!has_image(shape, field.name)) continue;
    content.add_text(field.name);
    for (const std::uint64_t checksum : chunk_checksums.at(field.name)) content.add(checksum);
  }
  return content.checksum();
}

std::string fingerprint_of(const std::vector<std::uint64_t>& content_checksums) {
  return storage::checksum_text(storage::checksum(std::as_bytes(std::span(content_checksums))));
}

}  // namespace leda::data
