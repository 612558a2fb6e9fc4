#include "checkpoint/checkpoint_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <exception>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "checkpoint/checksummed_json.hpp"
#include "storage/checksum.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

constexpr const char* kFormat = "leda-checkpoint";
constexpr std::int64_t kNewestVersion = 2;
constexpr std::string_view kStepPrefix = "step_";
constexpr const char* kManifestName = "manifest.json";
constexpr const char* kStateName = "state.json";
constexpr const char* kProvenanceName = "provenance.json";
constexpr const char* kStateKey = "state_xxh3_64";

std::string checksum_of(std::string_view text) {
  return storage::checksum_text(storage::checksum(std::as_bytes(std::span(text))));
}

// The one place where what a reader throws becomes a reason to pass a checkpoint over.
template <typename Work>
auto as_damage(const Work& work) {
  try {
    return work();
  } catch (const nlohmann::json::exception& problem) {
    throw DamagedCheckpoint(problem.what());
  } catch (const std::filesystem::filesystem_error& problem) {
    throw DamagedCheckpoint(problem.what());
  }
}

// Of the readers in storage/, whose Error(data) means no more than DamagedCheckpoint here.
template <typename Work>
auto readable(const Work& work) {
  try {
    return work();
  } catch (const base::Error& error) {
    throw DamagedCheckpoint(error.text().what + ": " + error.text().value);
  }
}

storage::WrittenFile write_text(const std::filesystem::path& path, std::string_view text) {
  storage::FileWriter writer(path);
  writer.write(text);
  return writer.close();
}

nlohmann::ordered_json files_json(const std::vector<ListedFile>& files) {
  auto list = nlohmann::ordered_json::array();
  for (const ListedFile& file : files) {
    list.push_back({{"name", file.name}, {"bytes", file.num_bytes}, {"xxh3_64", file.checksum}});
  }
  return list;
}

std::vector<ListedFile> listed_files(const nlohmann::json& list) {
  std::vector<ListedFile> files;
  for (const nlohmann::json& file : list) {
    files.push_back({file.at("name").get<std::string>(), file.at("bytes").get<std::uint64_t>(),
                     file.at("xxh3_64").get<std::string>()});
    const std::string& name = files.back().name;
    if (name.empty() || name.find('/') != std::string::npos)
      throw DamagedCheckpoint("it lists a file outside its folder");
  }
  return files;
}

std::string manifest_text(const Manifest& manifest) {
  const nlohmann::ordered_json object{
      {"format", kFormat},           {"version", manifest.version},           {"step", manifest.step},
      {"is_last", manifest.is_last}, {"run_identity", manifest.run_identity}, {"files", files_json(manifest.files)}};
  return add_checksum(object.dump());
}

Manifest parse_manifest(const std::filesystem::path& path, const nlohmann::json& object) {
  if (object.at("format") != kFormat) throw DamagedCheckpoint(fmt::format("{} is of no checkpoint", kManifestName));
  const auto version = object.at("version").get<std::int64_t>();
  if (version < 1 || version > kNewestVersion) {
    throw base::Error(base::ExitCode::data, {.what = fmt::format("{} is of format version {}", path.string(), version),
                                             .value = "",
                                             .why = fmt::format("this program reads versions 1 to {}", kNewestVersion),
                                             .remedy = "use the program that wrote it, or start a new run"});
  }
  Manifest manifest{.version = version};
  manifest.step = object.at("step").get<std::int64_t>();
  manifest.is_last = object.at("is_last").get<bool>();
  manifest.run_identity = object.at("run_identity").get<std::string>();
  manifest.files = listed_files(object.at("files"));
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw DamagedCheckpoint(fmt::format("{} is missing", kManifestName));
  const std::string text = readable([&] { return storage::read_text_file(path); });
  if (!has_valid_checksum(text))
    throw DamagedCheckpoint(fmt::format("the checksum of {} does not match", kManifestName));
  try {
    return parse_manifest(path, nlohmann::json::parse(text));
  } catch (const nlohmann::json::exception& problem) {
    throw DamagedCheckpoint(fmt::format("{}: {}", kManifestName, problem.what()));
  }
}

Manifest read_manifest_of(const std::filesystem::path& folder, std::int64_t step) {
  Manifest manifest = read_manifest(folder / kManifestName);
  if (manifest.step != step) throw DamagedCheckpoint(fmt::format("its manifest says step {}", manifest.step));
  return manifest;
}

// Asks the system to forget its copy, so that the next read is from the disk. Only clean pages are dropped.
void drop_from_page_cache(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  close(descriptor);
}

void check_size(const std::filesystem::path& folder, const ListedFile& file) {
  const std::filesystem::path path = folder / file.name;
  if (!std::filesystem::exists(path)) throw DamagedCheckpoint(fmt::format("{} is missing", file.name));
  const std::uint64_t num_bytes = std::filesystem::file_size(path);
  if (num_bytes == file.num_bytes) return;
  throw DamagedCheckpoint(fmt::format("{} has {} bytes, {} were written", file.name, num_bytes, file.num_bytes));
}

void check_checksum(const ListedFile& file, std::uint64_t found) {
  if (storage::checksum_text(found) == file.checksum) return;
  throw DamagedCheckpoint(fmt::format("the checksum of {} does not match", file.name));
}

void verify_file(const std::filesystem::path& folder, const ListedFile& file, const storage::Progress& progress = {}) {
  check_size(folder, file);
  check_checksum(file, readable([&] { return storage::file_checksum(folder / file.name, progress); }));
}

storage::TensorArchive read_archive(const std::filesystem::path& folder, const ListedFile& file) {
  check_size(folder, file);
  try {
    storage::ReadArchive found = storage::read_safetensors(folder / file.name);
    if (found.num_bytes != file.num_bytes)
      throw DamagedCheckpoint(fmt::format("{} changes while it is read", file.name));
    check_checksum(file, found.checksum);
    return std::move(found.archive);
  } catch (const base::Error& error) {
    // What does not match its checksum needs no other reason.
    verify_file(folder, file);
    throw DamagedCheckpoint(error.text().what + ": " + error.text().value);
  }
}

// Two files at once, where there are several and this is the host's only reader: at the ends of one the disk works for
// the other. What fails first, in the order of the list, is thrown.
std::vector<storage::TensorArchive> read_archives(const std::filesystem::path& folder,
                                                  const std::vector<ListedFile>& files, const ReadingPlace& place) {
  std::vector<storage::TensorArchive> archives(files.size());
  std::vector<std::exception_ptr> failures(files.size());
  const std::size_t begin =
      files.size() * static_cast<std::size_t>(place.local_rank) / static_cast<std::size_t>(place.local_size);
  std::atomic<std::size_t> next{0};
  const auto read_some = [&] {
    for (std::size_t turn = next++; turn < files.size(); turn = next++) {
      const std::size_t i = (begin + turn) % files.size();
      try {
        archives[i] = read_archive(folder, files[i]);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    }
  };
  {
    std::future<void> other;
    if (files.size() > 1 && place.local_size == 1) other = std::async(std::launch::async, read_some);
    read_some();
  }
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
  return archives;
}

std::string read_state(const std::filesystem::path& folder, const ListedFile& file) {
  check_size(folder, file);
  std::string text = readable([&] { return storage::read_text_file(folder / file.name); });
  check_checksum(file, storage::checksum(std::as_bytes(std::span(text))));
  return text;
}

// The parts of an archive, put together in their order.
class ArchiveParts {
 public:
  void add(const ArchiveFileName& name, storage::TensorArchive part) {
    if (num_parts_ == 0) num_parts_ = name.num_parts;
    const bool fits = name.num_parts == num_parts_ && name.part <= num_parts_;
    if (!fits || !parts_.emplace(name.part, std::move(part)).second) {
      throw DamagedCheckpoint(fmt::format("the parts of {} do not fit each other", name.stem));
    }
  }

  storage::TensorArchive whole(const std::string& stem) {
    if (static_cast<int>(parts_.size()) != num_parts_) {
      throw DamagedCheckpoint(fmt::format("{} of the {} parts of {} are listed", parts_.size(), num_parts_, stem));
    }
    storage::TensorArchive archive{.tensors = {}, .metadata = parts_.begin()->second.metadata};
    for (auto& [number, part] : parts_) {
      if (part.metadata != archive.metadata)
        throw DamagedCheckpoint(fmt::format("the parts of {} differ in metadata", stem));
      for (auto& tensor : part.tensors) archive.tensors.push_back(std::move(tensor));
    }
    return archive;
  }

 private:
  int num_parts_ = 0;
  std::map<int, storage::TensorArchive> parts_;
};

// Of the network alone in version 1; what a run is known by since then was added behind a semicolon.
bool is_of_run(const Manifest& manifest, const std::string& run_identity) {
  if (manifest.run_identity == run_identity) return true;
  return manifest.version == 1 && run_identity.starts_with(manifest.run_identity + ";");
}

ForeignCheckpoint foreign_checkpoint(const std::filesystem::path& folder, const Manifest& manifest,
                                     const std::string& run_identity) {
  const std::string value = fmt::format("it is of \"{}\", this run is \"{}\"", manifest.run_identity, run_identity);
  return {"it is a checkpoint of another run: " + value,
          base::Error(base::ExitCode::data,
                      {.what = fmt::format("{} is a checkpoint of another network or run", folder.string()),
                       .value = value,
                       .why = "it does not continue this run",
                       .remedy = "use the options it was trained with, or a new run folder (--new-run)"})};
}

// What provenance.json says is of interest to people only: damage to it costs no checkpoint. Since version 2 it names
// the state it belongs to.
void read_provenance(const std::filesystem::path& folder, std::int64_t version, LoadedCheckpoint& checkpoint) {
  const std::filesystem::path path = folder / kProvenanceName;
  if (!std::filesystem::exists(path)) return;
  try {
    const std::string text = storage::read_text_file(path);
    if (!has_valid_checksum(text)) throw DamagedCheckpoint("its checksum does not match");
    auto object = nlohmann::ordered_json::parse(text);
    object.erase("checksum");
    if (version > 1) {
      if (object.at(kStateKey) != checksum_of(checkpoint.content.state_json))
        throw DamagedCheckpoint("it is of another state");
      object.erase(kStateKey);
    }
    checkpoint.provenance_json = object.dump();
  } catch (const base::Error& error) {
    checkpoint.provenance_damage = error.text().value;
  } catch (const std::exception& problem) {
    checkpoint.provenance_damage = problem.what();
  }
}

std::string checksummed_provenance(const std::string& provenance_json, const std::string& state_json) {
  auto object = nlohmann::ordered_json::parse(provenance_json);
  object[kStateKey] = checksum_of(state_json);
  return add_checksum(object.dump());
}

}  // namespace

std::string step_folder_name(std::int64_t step) { return fmt::format("{}{:08}", kStepPrefix, step); }

std::optional<std::int64_t> step_of_folder_name(const std::string& name) {
  if (!name.starts_with(kStepPrefix)) return std::nullopt;
  std::int64_t step = 0;
  const auto [end, error] = std::from_chars(name.data() + kStepPrefix.size(), name.data() + name.size(), step);
  if (error != std::errc() || step < 0 || name != step_folder_name(step)) return std::nullopt;
  return step;
}

std::string files_text(const std::vector<ListedFile>& files) { return files_json(files).dump(); }

std::vector<ListedFile> parse_files(const std::string& text) {
  return as_damage([&] { return listed_files(nlohmann::json::parse(text)); });
}

ListedFile write_archive_file(const std::filesystem::path& folder, const ArchiveFile& file,
                              const CheckpointContent& content, const storage::Progress& progress) {
  const storage::WrittenFile written = storage::save_safetensors(folder / file.name, part_of(content, file), progress);
  return {file.name, written.num_bytes, storage::checksum_text(written.checksum)};
}

Manifest write_head_files(const std::filesystem::path& folder, const Manifest& head, const std::string& state_json,
                          const std::string& provenance_json) {
  Manifest manifest = head;
  const storage::WrittenFile state = write_text(folder / kStateName, state_json);
  manifest.files.push_back({kStateName, state.num_bytes, storage::checksum_text(state.checksum)});
  if (!provenance_json.empty()) {
    write_text(folder / kProvenanceName, checksummed_provenance(provenance_json, state_json));
  }
  write_text(folder / kManifestName, manifest_text(manifest));
  storage::sync_folder(folder);
  return manifest;
}

void read_back(const std::filesystem::path& folder, const ListedFile& file, const storage::Progress& progress) {
  as_damage([&] {
    drop_from_page_cache(folder / file.name);
    verify_file(folder, file, progress);
    return 0;
  });
}

void read_back_manifest(const std::filesystem::path& folder, const Manifest& manifest) {
  as_damage([&] {
    drop_from_page_cache(folder / kManifestName);
    const std::string text = readable([&] { return storage::read_text_file(folder / kManifestName); });
    if (text != manifest_text(manifest))
      throw DamagedCheckpoint(fmt::format("{} is not what was written", kManifestName));
    for (const ListedFile& file : manifest.files) check_size(folder, file);
    return 0;
  });
}

Manifest verify_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step) {
  return as_damage([&] {
    Manifest manifest = read_manifest_of(folder, step);
    for (const ListedFile& file : manifest.files) verify_file(folder, file);
    return manifest;
  });
}

bool is_same_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& written, std::int64_t step) {
  try {
    verify_checkpoint_folder(folder, step);
    return storage::read_text_file(folder / kManifestName) == storage::read_text_file(written / kManifestName);
  } catch (const DamagedCheckpoint&) {
    return false;
  }
}

std::string manifest_checksum(const std::filesystem::path& folder) {
  return checksum_of(storage::read_text_file(folder / kManifestName));
}

LoadedCheckpoint read_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step,
                                        const std::string& run_identity, const ReadingPlace& place) {
  return as_damage([&] {
    const Manifest manifest = read_manifest_of(folder, step);
    if (!is_of_run(manifest, run_identity)) throw foreign_checkpoint(folder, manifest, run_identity);
    LoadedCheckpoint checkpoint;
    checkpoint.manifest_checksum = checksum_of(manifest_text(manifest));
    checkpoint.step = manifest.step;
    checkpoint.is_last = manifest.is_last;
    std::vector<ListedFile> archive_files;
    bool has_state = false;
    for (const ListedFile& file : manifest.files) {
      if (parse_archive_file_name(file.name, manifest.version > 1)) {
        archive_files.push_back(file);
      } else if (file.name == kStateName) {
        checkpoint.content.state_json = read_state(folder, file);
        has_state = true;
      } else {
        verify_file(folder, file);
      }
    }
    std::map<std::string, ArchiveParts> archives;
    std::vector<storage::TensorArchive> parts = read_archives(folder, archive_files, place);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto name = parse_archive_file_name(archive_files[i].name, manifest.version > 1);
      archives[name->stem].add(*name, std::move(parts[i]));
    }
    if (!has_state) throw DamagedCheckpoint(fmt::format("{} is not listed", kStateName));
    for (auto& [stem, archive] : archives) checkpoint.content.archives[stem] = archive.whole(stem);
    read_provenance(folder, manifest.version, checkpoint);
    return checkpoint;
  });
}

}  // namespace leda::checkpoint
