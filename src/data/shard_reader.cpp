#include "data/shard_reader.hpp"

#include <ATen/ops/empty.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "base/error.hpp"
#include "data/chunk_codec.hpp"
#include "storage/checksum.hpp"
#include "storage/hdf5_file.hpp"

namespace leda::data {
namespace {

[[noreturn]] void refuse_shard(const std::filesystem::path& path, const std::string& field, const std::string& failure,
                               const std::string& value = "", const std::string& why = "") {
  throw base::Error(base::ExitCode::data,
                    {.what = fmt::format("shard {}, '{}': {}", path.string(), field, failure),
                     .value = value,
                     .why = why,
                     .remedy = "make the shard anew or copy it again; `leda_data verify` checks a whole folder"});
}

void check_format(const storage::Hdf5File& file, const std::filesystem::path& path) {
  if (!file.has_attribute(kFormatAttribute) || file.read_text_attribute(kFormatAttribute) != kShardFormatName) {
    refuse_shard(path, kFormatAttribute, "is no shard of this project", "",
                 fmt::format("a shard says '{}' there", kShardFormatName));
  }
  const std::int64_t version = file.read_integer_attribute(kVersionAttribute);
  if (version != kShardFormatVersion) {
    refuse_shard(path, kVersionAttribute, "this program cannot read this version of the format",
                 fmt::to_string(version), fmt::format("it reads version {}", kShardFormatVersion));
  }
}

void check_length(const std::filesystem::path& path, const std::string& field, std::int64_t found,
                  std::int64_t expected) {
  if (found == expected) return;
  refuse_shard(path, field, "has another length than normal_dose has slices",
               fmt::format("{} instead of {}", found, expected));
}

std::vector<double> read_numbers(const storage::Hdf5File& file, const std::filesystem::path& path,
                                 const std::string& field, std::int64_t num_slices, std::int64_t per_slice) {
  const at::Tensor values = file.read_tensor(field);
  if (values.scalar_type() != at::kDouble || values.dim() != (per_slice == 1 ? 1 : 2) ||
      values.numel() != values.size(0) * per_slice) {
    refuse_shard(path, field, "is not an array of float64 of the expected shape",
                 fmt::format("{} [{}]", at::toString(values.scalar_type()), fmt::join(values.sizes(), ", ")));
  }
  check_length(path, field, values.size(0), num_slices);
  const double* first = values.const_data_ptr<double>();
  return {first, first + values.numel()};
}

std::vector<std::string> read_names(const storage::Hdf5File& file, const std::filesystem::path& path,
                                    const std::string& field, std::int64_t num_slices) {
  std::vector<std::string> names = file.read_texts(field);
  check_length(path, field, static_cast<std::int64_t>(names.size()), num_slices);
  return names;
}

void check_record(const std::filesystem::path& path, const SliceRecord& record) {
  for (const double spacing : record.spacing_mm) {
    if (!(std::isfinite(spacing) && spacing > 0.0)) {
      refuse_shard(path, kSpacing, "a distance is not positive", fmt::to_string(spacing));
    }
  }
  if (!std::isfinite(record.position_mm)) refuse_shard(path, kPosition, "a position is not finite");
  if (!(record.dose_fraction > 0.0 && record.dose_fraction <= 1.0)) {
    refuse_shard(path, kDoseFraction, "a dose fraction is not in (0, 1]", fmt::to_string(record.dose_fraction));
  }
}

// All of `bytes`, from `offset`; false at the end of the file or on an error.
bool read_fully(int descriptor, std::span<std::byte> bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        pread(descriptor, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

}  // namespace

ShardReader::ShardReader(std::filesystem::path path) : path_(std::move(path)) {
  const storage::Hdf5File file = storage::Hdf5File::open_read(path_);
  check_format(file, path_);
  creator_ = file.read_text_attribute(kCreatorAttribute);
  read_images(file);
  read_records(file);
  std::map<std::string, std::vector<std::uint64_t>> checksums;
  for (const Image& image : images_) checksums[image.field.name] = image.checksums;
  content_checksum_ = content_checksum_of(shape_, creator_, records_, checksums);
  const std::string stored = file.read_text_attribute(kContentChecksumAttribute);
  if (stored != storage::checksum_text(content_checksum_)) {
    refuse_shard(path_, kContentChecksumAttribute, "does not match the shard's content", stored,
                 "what the shard says about its slices has been damaged or edited");
  }
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor_ < 0) {
    throw base::Error(base::ExitCode::data, {.what = fmt::format("shard {} cannot be opened", path_.string()),
                                             .value = std::strerror(errno),
                                             .why = "one file stays open per shard",
                                             .remedy = "raise the limit of open files with `ulimit -n`, or check "
                                                       "permissions"});
  }
}

ShardReader::~ShardReader() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

ShardReader::ShardReader(ShardReader&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      shape_(other.shape_),
      creator_(std::move(other.creator_)),
      records_(std::move(other.records_)),
      images_(std::move(other.images_)),
      content_checksum_(other.content_checksum_) {}

void ShardReader::read_images(const storage::Hdf5File& file) {
  const std::vector<std::int64_t> shape = file.shape_of(kNormalDose);
  if (shape.size() != 3 || shape[0] < 1 || shape[1] < 1 || shape[2] < 1) {
    refuse_shard(path_, kNormalDose, "is not a stack of slices", fmt::format("shape [{}]", fmt::join(shape, ", ")));
  }
  shape_ = {shape[1], shape[2], file.has(kLowDose), file.has(kTissue), file.has(kNoiseFree)};
  for (const ImageField& field : kImageFields) {
    if (!has_image(shape_, field.name)) continue;
    if (file.type_of(field.name) != field.type) {
      refuse_shard(path_, field.name, "has another type than the format says", at::toString(file.type_of(field.name)));
    }
    if (const std::vector<std::int64_t> found = file.shape_of(field.name); found != shape) {
      refuse_shard(path_, field.name, "has another shape than normal_dose",
                   fmt::format("[{}] instead of [{}]", fmt::join(found, ", "), fmt::join(shape, ", ")));
    }
    Image image{field, storage::read_chunk_index(file, field.name), {}};
    for (const int filter : image.index.filters) {
      if (!is_known_filter(filter))
        refuse_shard(path_, field.name, "is stored with an unknown filter", fmt::to_string(filter));
    }
    const std::string name = chunk_checksum_name(field.name);
    const at::Tensor checksums = file.read_tensor(name);
    if (checksums.scalar_type() != at::kUInt64 || checksums.dim() != 1) {
      refuse_shard(path_, name, "is not an array of uint64", at::toString(checksums.scalar_type()));
    }
    check_length(path_, name, checksums.size(0), shape[0]);
    const auto* first = checksums.const_data_ptr<std::uint64_t>();
    image.checksums.assign(first, first + checksums.numel());
    images_.push_back(std::move(image));
  }
}

void ShardReader::read_records(const storage::Hdf5File& file) {
  const auto count = static_cast<std::int64_t>(images_.front().checksums.size());
  const std::vector<double> spacings = read_numbers(file, path_, kSpacing, count, 3);
  const std::vector<double> positions = read_numbers(file, path_, kPosition, count, 1);
  const std::vector<double> fractions = read_numbers(file, path_, kDoseFraction, count, 1);
  std::vector<std::string> patients = read_names(file, path_, kPatient, count);
  std::vector<std::string> series = read_names(file, path_, kSeries, count);
  records_.reserve(positions.size());
  for (std::size_t i = 0; i < positions.size(); ++i) {
    records_.push_back({std::move(patients[i]),
                        std::move(series[i]),
                        {spacings[3 * i], spacings[3 * i + 1], spacings[3 * i + 2]},
                        positions[i],
                        fractions[i]});
    check_record(path_, records_.back());
  }
}

std::uint64_t ShardReader::normal_dose_checksum(std::int64_t index) const {
  const auto image = std::find_if(images_.begin(), images_.end(),
                                  [](const Image& one) { return std::string_view(one.field.name) == kNormalDose; });
  return image->checksums.at(static_cast<std::size_t>(index));
}

at::Tensor ShardReader::read_image(const Image& image, std::int64_t index) const {
  const auto i = static_cast<std::size_t>(index);
  const storage::ChunkLocation& chunk = image.index.chunks.at(i);
  std::vector<std::byte> stored(chunk.size_bytes);
  if (stored.empty() || !read_fully(descriptor_, stored, chunk.address)) {
    refuse_shard(path_, image.field.name, fmt::format("slice {} cannot be read", index), "", "the file ends before it");
  }
  if (storage::checksum(stored) != image.checksums[i]) {
    refuse_shard(path_, image.field.name, fmt::format("slice {} is damaged", index),
                 fmt::format("checksum {} instead of {}", storage::checksum_text(storage::checksum(stored)),
                             storage::checksum_text(image.checksums[i])));
  }
  const at::Tensor values = at::empty({shape_.rows, shape_.columns}, at::TensorOptions().dtype(image.field.type));
  const std::span bytes(static_cast<std::byte*>(values.mutable_data_ptr()), values.nbytes());
  if (!decode_chunk(stored, image.index.filters, chunk.filter_mask, values.element_size(), bytes)) {
    refuse_shard(path_, image.field.name, fmt::format("slice {} cannot be unpacked", index));
  }
  return values;
}

Slice ShardReader::read_slice(std::int64_t index, const SliceFields& fields) const {
  Slice slice;
  slice.record = record(index);
  for (const Image& image : images_) {
    const std::string name = image.field.name;
    if (name == kNormalDose) slice.normal_dose_hu = read_image(image, index);
    if (name == kLowDose && fields.low_dose) slice.low_dose_hu = read_image(image, index);
    if (name == kTissue && fields.tissue) slice.tissue = read_image(image, index);
    if (name == kNoiseFree && fields.noise_free) slice.noise_free_hu = read_image(image, index);
  }
  return slice;
}

void ShardReader::verify() const {
  for (const Image& image : images_) {
    for (std::int64_t index = 0; index < num_slices(); ++index) read_image(image, index);
  }
}

}  // namespace leda::data
