#include "data/shards/shard_writer.hpp"

#include <ATen/ops/from_blob.h>
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <span>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "data/shards/chunk_codec.hpp"
#include "storage/checksum.hpp"
#include "storage/durable_file.hpp"
#include "storage/hdf5_chunk_writer.hpp"

namespace leda::data {
namespace {

std::filesystem::path temporary_name(const std::filesystem::path& path) {
  return path.parent_path() / fmt::format(".{}_tmp-{}", path.filename().string(), getpid());
}

const at::Tensor& image_of(const Slice& slice, const std::string& name) {
  if (name == kNormalDose) return slice.normal_dose_hu;
  if (name == kLowDose) return slice.low_dose_hu;
  if (name == kTissue) return slice.tissue;
  return slice.noise_free_hu;
}

[[noreturn]] void refuse_slice(const std::filesystem::path& path, const std::string& field, const std::string& value) {
  throw base::Error(base::ExitCode::data,
                    {.what = fmt::format("{}, '{}': a slice does not fit this shard", path.string(), field),
                     .value = value,
                     .why = "all slices of a shard have the same images of the same size",
                     .remedy = "write slices of another kind to another data set"});
}

std::string describe(const at::Tensor& image) {
  if (!image.defined()) return "absent";
  return fmt::format("{} of shape [{}]", at::toString(image.scalar_type()), fmt::join(image.sizes(), ", "));
}

at::Tensor column(std::vector<double>& values, std::vector<std::int64_t> shape) {
  return at::from_blob(values.data(), shape, at::kDouble);
}

}  // namespace

class ShardWriter::Body {
 public:
  Body(std::filesystem::path path, const ShardShape& shape, std::string creator)
      : path_(std::move(path)),
        temporary_(temporary_name(path_)),
        shape_(shape),
        creator_(std::move(creator)),
        file_(storage::Hdf5File::create(temporary_)) {
    file_.write_text_attribute(kFormatAttribute, kShardFormatName);
    file_.write_integer_attribute(kVersionAttribute, kShardFormatVersion);
    file_.write_text_attribute(kCreatorAttribute, creator_);
    for (const ImageField& field : kImageFields) {
      if (!has_image(shape_, field.name)) continue;
      const storage::ChunkLayout layout{field.type, shape_.rows, shape_.columns, kShardDeflateLevel};
      images_.push_back({field, storage::Hdf5ChunkWriter(file_, field.name, layout)});
    }
  }

  ~Body() {
    if (is_finished_) return;
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
  }

  void append(const Slice& slice) {
    check(slice);
    for (Image& image : images_) {
      const at::Tensor values = image_of(slice, image.field.name).contiguous();
      const std::span bytes(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes());
      const std::vector<std::byte> stored = encode_chunk(bytes, values.element_size(), kShardDeflateLevel);
      image.writer.append(stored);
      checksums_[image.field.name].push_back(storage::checksum(stored));
    }
    records_.push_back(slice.record);
  }

  std::uint64_t finish() {
    const std::uint64_t content = content_checksum_of(shape_, creator_, records_, checksums_);
    images_.clear();  // HDF5 keeps a file open while one of its datasets is
    write_records();
    for (auto& [image, checksums] : checksums_) {
      file_.write_tensor(chunk_checksum_name(image),
                         at::from_blob(checksums.data(), {static_cast<std::int64_t>(checksums.size())}, at::kUInt64));
    }
    file_.write_text_attribute(kContentChecksumAttribute, storage::checksum_text(content));
    file_.close();
    storage::sync_file(temporary_);
    storage::rename_durably(temporary_, path_);
    is_finished_ = true;
    return content;
  }

 private:
  struct Image {
    ImageField field;
    storage::Hdf5ChunkWriter writer;
  };

  void check(const Slice& slice) const {
    for (const ImageField& field : kImageFields) {
      const at::Tensor& image = image_of(slice, field.name);
      const bool is_wanted = has_image(shape_, field.name);
      const bool fits = image.defined() && image.scalar_type() == field.type && image.dim() == 2 &&
                        image.size(0) == shape_.rows && image.size(1) == shape_.columns;
      if (is_wanted ? !fits : image.defined()) refuse_slice(path_, field.name, describe(image));
    }
  }

  void write_records() {
    const auto count = static_cast<std::int64_t>(records_.size());
    std::vector<double> spacings, positions, fractions;
    std::vector<std::string> patients, series;
    for (const SliceRecord& record : records_) {
      spacings.insert(spacings.end(), record.spacing_mm.begin(), record.spacing_mm.end());
      positions.push_back(record.position_mm);
      fractions.push_back(record.dose_fraction);
      patients.push_back(record.patient);
      series.push_back(record.series);
    }
    file_.write_tensor(kSpacing, column(spacings, {count, 3}));
    file_.write_tensor(kPosition, column(positions, {count}));
    file_.write_tensor(kDoseFraction, column(fractions, {count}));
    file_.write_texts(kPatient, patients);
    file_.write_texts(kSeries, series);
  }

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  ShardShape shape_;
  std::string creator_;
  storage::Hdf5File file_;
  std::vector<Image> images_;
  std::vector<SliceRecord> records_;
  std::map<std::string, std::vector<std::uint64_t>> checksums_;
  bool is_finished_ = false;
};

ShardWriter::ShardWriter(std::filesystem::path path, const ShardShape& shape, const std::string& creator)
    : body_(std::make_unique<Body>(std::move(path), shape, creator)) {}
ShardWriter::~ShardWriter() = default;
ShardWriter::ShardWriter(ShardWriter&&) noexcept = default;

void ShardWriter::append(const Slice& slice) { body_->append(slice); }
std::uint64_t ShardWriter::finish() { return body_->finish(); }

}  // namespace leda::data
