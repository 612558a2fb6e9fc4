#include "data/shards/shard_set_writer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "data/shards/shard_writer.hpp"
#include "logging/progress_line.hpp"
#include "storage/checksum.hpp"
#include "storage/durable_file.hpp"

namespace leda::data {
namespace {

using base::Error;
using base::ExitCode;

constexpr double kProgressIntervalSeconds = 20.0;

std::string origin_of(const ShardSet& set) {
  std::string origin = "leda_data";
  for (const auto& [name, value] : set.parameters) origin += fmt::format("; {} = {}", name, value);
  return origin;
}

std::int64_t num_shards(const ShardSet& set) {
  return (set.num_slices + set.slices_per_shard - 1) / set.slices_per_shard;
}

std::string shard_name(std::int64_t shard) { return fmt::format("shard_{:05}{}", shard, kShardExtension); }

std::int64_t slices_of_shard(const ShardSet& set, std::int64_t shard) {
  return std::min(set.slices_per_shard, set.num_slices - shard * set.slices_per_shard);
}

[[noreturn]] void refuse_folder(const std::filesystem::path& file, const std::string& value) {
  throw Error(ExitCode::data,
              {.what = fmt::format("the output folder holds another data set already: {}", file.string()),
               .value = value,
               .why = "nothing is overwritten, and shards of two data sets must not mix",
               .remedy = "choose another folder, or delete this one if it is no longer wanted"});
}

// Empty unless the folder's description is that of this set and fits its shards: then the fingerprint.
std::string fingerprint_of_complete_set(const ShardSet& set, const std::string& origin) {
  const std::filesystem::path description = set.folder / kDatasetDescription;
  if (!std::filesystem::exists(description)) return "";
  const auto json = nlohmann::json::parse(storage::read_text_file(description), nullptr, /*allow_exceptions=*/false);
  const std::string found = json.is_object() ? json.value("origin", "") : "";
  if (found != origin) refuse_folder(description, fmt::format("'{}', not '{}'", found, origin));
  try {
    const ShardCatalogue catalogue = ShardCatalogue::open(set.folder);
    return catalogue.fingerprint() == json.value("fingerprint", "") ? catalogue.fingerprint() : "";
  } catch (const Error&) {
    return "";  // a shard is missing or damaged: it will be written again
  }
}

// Unreadable shards of ours are written again; a readable one of another origin is somebody's data.
void check_present_shard(const ShardSet& set, const std::string& origin, const std::filesystem::path& path) {
  for (std::int64_t shard = 0; shard < num_shards(set); ++shard) {
    if (path.filename() != shard_name(shard)) continue;
    std::string creator = origin;
    try {
      creator = ShardReader(path).creator();
    } catch (const Error&) {
    }
    if (creator != origin) refuse_folder(path, fmt::format("made by '{}', not by '{}'", creator, origin));
    return;
  }
  refuse_folder(path, "not one of the shards to be written");
}

// Rank 0 only. Returns the fingerprint of a set that is complete already, else "".
std::string prepare_folder(const ShardSet& set, const std::string& origin) {
  std::error_code failure;
  std::filesystem::create_directories(set.folder, failure);
  if (failure) throw storage::storage_error("cannot create the data folder", set.folder, failure.value());
  if (std::string fingerprint = fingerprint_of_complete_set(set, origin); !fingerprint.empty()) return fingerprint;
  std::vector<std::filesystem::path> left_behind;
  for (const auto& entry : std::filesystem::directory_iterator(set.folder)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(".shard_") && name.find("_tmp-") != std::string::npos)
      left_behind.push_back(entry.path());
    else if (entry.path().extension() == kShardExtension)
      check_present_shard(set, origin, entry.path());
  }
  for (const std::filesystem::path& path : left_behind) std::filesystem::remove(path, failure);
  return "";
}

bool is_complete(const ShardSet& set, const std::string& origin, std::int64_t shard) {
  const std::filesystem::path path = set.folder / shard_name(shard);
  if (!std::filesystem::exists(path)) return false;
  try {
    const ShardReader reader(path);
    reader.verify();
    return reader.creator() == origin && reader.shape() == set.shape &&
           reader.num_slices() == slices_of_shard(set, shard);
  } catch (const Error&) {
    return false;
  }
}

// The ranks' shards of one round, a slice of each between two questions. False where it was left: then no shard of the
// round has its name.
bool write_round(const ShardSet& set, const std::string& origin, std::int64_t round,
                 distributed::Communicator& communicator) {
  const std::int64_t first_shard = round * communicator.size();
  const std::int64_t shard = first_shard + communicator.rank();
  const std::int64_t first = shard * set.slices_per_shard;
  std::optional<ShardWriter> writer;
  std::int64_t num_own = 0;
  if (shard < num_shards(set) && !is_complete(set, origin, shard)) {
    writer.emplace(set.folder / shard_name(shard), set.shape, origin);
    num_own = slices_of_shard(set, shard);
  }
  // No shard of a round has more slices than its first.
  for (std::int64_t i = 0; i < slices_of_shard(set, first_shard); ++i) {
    if (set.should_stop && set.should_stop()) return false;
    if (i >= num_own) continue;
    communicator.note(fmt::format("{}, slice {}", shard_name(shard), first + i));
    writer->append(set.slice_at(first + i));
  }
  if (writer) writer->finish();
  return true;
}

// False where it was left before all ranks had written theirs.
bool write_own_shards(const ShardSet& set, const std::string& origin, distributed::Communicator& communicator,
                      logging::Console& console) {
  const std::int64_t size = communicator.size();
  const std::int64_t own = (num_shards(set) - communicator.rank() + size - 1) / size;
  logging::ProgressLine progress(console, fmt::format("shards of {}", set.folder.string()), own, 0,
                                 kProgressIntervalSeconds);
  for (std::int64_t round = 0; round * size < num_shards(set); ++round) {
    if (!write_round(set, origin, round, communicator)) return false;
    if (round < own) progress.update(round + 1, size > 1 ? fmt::format("on rank 0 of {}", size) : "");
  }
  progress.finish();
  return true;
}

// Rank 0 only: opens the whole set once more and says that it is complete.
std::string write_description(const ShardSet& set, const std::string& origin) {
  const ShardCatalogue catalogue = ShardCatalogue::open(set.folder);
  nlohmann::ordered_json json{{"format", "leda data set"}, {"version", 1}, {"origin", origin}};
  for (const auto& [name, value] : set.parameters) json["parameters"][name] = value;
  json["num_slices"] = catalogue.num_slices();
  for (const ShardReader& shard : catalogue.shards()) {
    json["shards"].push_back({{"file", shard.path().filename().string()},
                              {"num_slices", shard.num_slices()},
                              {"content_checksum", storage::checksum_text(shard.content_checksum())}});
  }
  json["fingerprint"] = catalogue.fingerprint();
  storage::write_file_durably(set.folder / kDatasetDescription, json.dump(2) + "\n");
  return catalogue.fingerprint();
}

}  // namespace

std::string write_shard_set(const ShardSet& set, distributed::Communicator& communicator, logging::Console& console) {
  const std::string origin = origin_of(set);
  const bool is_first = communicator.rank() == 0;
  const std::string known = distributed::broadcast_text(communicator, is_first ? prepare_folder(set, origin) : "", 0);
  if (!known.empty()) {
    console.info(fmt::format("data set {} is complete already, fingerprint {}", set.folder.string(), known));
    return known;
  }
  if (!write_own_shards(set, origin, communicator, console)) return "";
  communicator.barrier();
  const std::string fingerprint =
      distributed::broadcast_text(communicator, is_first ? write_description(set, origin) : "", 0);
  console.info(fmt::format("data set {}: {} slices in {} shards, fingerprint {}", set.folder.string(), set.num_slices,
                           num_shards(set), fingerprint));
  return fingerprint;
}

}  // namespace leda::data
