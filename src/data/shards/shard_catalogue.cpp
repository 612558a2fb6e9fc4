#include "data/shards/shard_catalogue.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"

namespace leda::data {
namespace {

std::vector<std::filesystem::path> shard_paths(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  std::error_code failure;
  for (std::filesystem::directory_iterator entry(folder, failure), end; !failure && entry != end;
       entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    // Names with a dot first are shards still being written.
    if (entry->path().extension() == kShardExtension && !name.starts_with('.')) paths.push_back(entry->path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::string describe(const ShardShape& shape) {
  return fmt::format("{} x {}{}{}{}", shape.rows, shape.columns, shape.has_low_dose ? ", low dose" : "",
                     shape.has_tissue ? ", tissue" : "", shape.has_noise_free ? ", noise free" : "");
}

void check_same_shape(const ShardReader& first, const ShardReader& shard) {
  if (first.shape() == shard.shape()) return;
  throw base::Error(base::ExitCode::data,
                    {.what = fmt::format("shards {} and {} hold slices of different shapes", first.path().string(),
                                         shard.path().string()),
                     .value = fmt::format("{} against {}", describe(first.shape()), describe(shard.shape())),
                     .why = "all slices of a data set make batches together",
                     .remedy = "keep them in folders of their own"});
}

}  // namespace

ShardCatalogue ShardCatalogue::open(const std::filesystem::path& folder) {
  const std::vector<std::filesystem::path> paths = shard_paths(folder);
  if (paths.empty()) {
    const bool exists = std::filesystem::is_directory(folder);
    throw base::Error(base::ExitCode::data,
                      {.what = fmt::format("no shards in data folder '{}'", folder.string()),
                       .value = exists ? "the folder holds no *.h5 files" : "no such folder",
                       .why = "",
                       .remedy = "make a data set with `leda_data phantom` or `leda_data import`, or name another "
                                 "folder"});
  }
  ShardCatalogue catalogue;
  catalogue.folder_ = folder;
  catalogue.first_slice_ids_ = {0};
  std::set<std::string> known_patients;
  std::vector<std::uint64_t> content_checksums;
  for (const std::filesystem::path& path : paths) {
    const ShardReader& shard = catalogue.shards_.emplace_back(path);
    check_same_shape(catalogue.shards_.front(), shard);
    catalogue.first_slice_ids_.push_back(catalogue.first_slice_ids_.back() + shard.num_slices());
    for (std::int64_t i = 0; i < shard.num_slices(); ++i) {
      const std::string& patient = shard.record(i).patient;
      if (known_patients.insert(patient).second) catalogue.patients_.push_back(patient);
    }
    content_checksums.push_back(shard.content_checksum());
  }
  catalogue.fingerprint_ = fingerprint_of(content_checksums);
  return catalogue;
}

std::size_t ShardCatalogue::shard_of(std::int64_t slice_id) const {
  const auto next = std::upper_bound(first_slice_ids_.begin(), first_slice_ids_.end(), slice_id);
  return static_cast<std::size_t>(next - first_slice_ids_.begin()) - 1;
}

const SliceRecord& ShardCatalogue::record(std::int64_t slice_id) const {
  const std::size_t shard = shard_of(slice_id);
  return shards_.at(shard).record(slice_id - first_slice_ids_[shard]);
}

std::uint64_t ShardCatalogue::normal_dose_checksum(std::int64_t slice_id) const {
  const std::size_t shard = shard_of(slice_id);
  return shards_.at(shard).normal_dose_checksum(slice_id - first_slice_ids_[shard]);
}

Slice ShardCatalogue::read_slice(std::int64_t slice_id, const SliceFields& fields) const {
  const std::size_t shard = shard_of(slice_id);
  return shards_.at(shard).read_slice(slice_id - first_slice_ids_[shard], fields);
}

}  // namespace leda::data
