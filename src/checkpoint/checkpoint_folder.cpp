#include "checkpoint/checkpoint_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "checkpoint/sealed_json.hpp"
#include "storage/checksum.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

constexpr const char* kFormat = "leda-checkpoint";
constexpr std::int64_t kVersion = 1;
constexpr std::string_view kStepPrefix = "step_";
constexpr std::string_view kArchiveSuffix = ".safetensors";
constexpr const char* kManifestName = "manifest.json";
constexpr const char* kStateName = "state.json";
constexpr const char* kProvenanceName = "provenance.json";

// The one place where what a reader throws becomes a reason to pass a checkpoint over.
template <typename Work>
auto as_damage(const Work& work) {
  try {
    return work();
  } catch (const nlohmann::json::exception& problem) {
    throw Damage(problem.what());
  } catch (const std::filesystem::filesystem_error& problem) {
    throw Damage(problem.what());
  }
}

// Of the readers in storage/, whose Error(data) means no more than Damage here.
template <typename Work>
auto readable(const Work& work) {
  try {
    return work();
  } catch (const base::Error& error) {
    throw Damage(error.text().what + ": " + error.text().value);
  }
}

storage::WrittenFile write_text(const std::filesystem::path& path, std::string_view text) {
  storage::FileWriter writer(path);
  writer.write(text);
  return writer.close();
}

std::string manifest_text(const Manifest& manifest) {
  auto files = nlohmann::ordered_json::array();
  for (const ListedFile& file : manifest.files) {
    files.push_back({{"name", file.name}, {"bytes", file.num_bytes}, {"xxh3_64", file.checksum}});
  }
  const nlohmann::ordered_json object{{"format", kFormat},
                                      {"version", kVersion},
                                      {"step", manifest.step},
                                      {"is_last", manifest.is_last},
                                      {"run_identity", manifest.run_identity},
                                      {"files", std::move(files)}};
  return seal_json(object.dump());
}

Manifest parse_manifest(const std::filesystem::path& path, const nlohmann::json& object) {
  if (object.at("format") != kFormat) throw Damage(fmt::format("{} is of no checkpoint", kManifestName));
  const auto version = object.at("version").get<std::int64_t>();
  if (version != kVersion) {
    throw base::Error(base::ExitCode::data, {.what = fmt::format("{} is of format version {}", path.string(), version),
                                             .value = "",
                                             .why = fmt::format("this program reads version {}", kVersion),
                                             .remedy = "use the program that wrote it, or start a new run"});
  }
  Manifest manifest;
  manifest.step = object.at("step").get<std::int64_t>();
  manifest.is_last = object.at("is_last").get<bool>();
  manifest.run_identity = object.at("run_identity").get<std::string>();
  for (const nlohmann::json& file : object.at("files")) {
    manifest.files.push_back({file.at("name").get<std::string>(), file.at("bytes").get<std::uint64_t>(),
                              file.at("xxh3_64").get<std::string>()});
    const std::string& name = manifest.files.back().name;
    if (name.empty() || name.find('/') != std::string::npos) throw Damage("it lists a file outside its folder");
  }
  return manifest;
}

Manifest read_manifest(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw Damage(fmt::format("{} is missing", kManifestName));
  const std::string text = readable([&] { return storage::read_text_file(path); });
  if (!is_seal_intact(text)) throw Damage(fmt::format("the checksum of {} does not match", kManifestName));
  return parse_manifest(path, nlohmann::json::parse(text));
}

// Asks the system to forget its copy, so that the next read is from the disk. Only clean pages are dropped.
void drop_from_page_cache(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  posix_fadvise(descriptor, 0, 0, POSIX_FADV_DONTNEED);
  close(descriptor);
}

void verify_file(const std::filesystem::path& folder, const ListedFile& file, bool from_disk) {
  const std::filesystem::path path = folder / file.name;
  if (!std::filesystem::exists(path)) throw Damage(fmt::format("{} is missing", file.name));
  const std::uint64_t num_bytes = std::filesystem::file_size(path);
  if (num_bytes != file.num_bytes) {
    throw Damage(fmt::format("{} has {} bytes, {} were written", file.name, num_bytes, file.num_bytes));
  }
  if (from_disk) drop_from_page_cache(path);
  const std::uint64_t found = readable([&] { return storage::file_checksum(path); });
  if (storage::checksum_text(found) != file.checksum) {
    throw Damage(fmt::format("the checksum of {} does not match", file.name));
  }
}

// What provenance.json says is of interest to people only: damage to it costs no checkpoint.
std::string read_provenance(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) return "";
  const std::string text = storage::read_text_file(path);
  if (!is_seal_intact(text)) return "";
  auto object = nlohmann::ordered_json::parse(text);
  object.erase("checksum");
  return object.dump();
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

void write_checkpoint_folder(const std::filesystem::path& folder, const Manifest& head,
                             const CheckpointContent& content, const std::string& provenance_json) {
  if (mkdir(folder.c_str(), 0777) != 0) throw storage::storage_error("cannot create the folder", folder, errno);
  Manifest manifest = head;
  const auto list = [&manifest](const std::string& name, const storage::WrittenFile& written) {
    manifest.files.push_back({name, written.num_bytes, storage::checksum_text(written.checksum)});
  };
  for (const auto& [stem, archive] : content.archives) {
    const std::string name = stem + std::string(kArchiveSuffix);
    list(name, storage::save_safetensors(folder / name, archive));
  }
  list(kStateName, write_text(folder / kStateName, content.state_json));
  if (!provenance_json.empty()) write_text(folder / kProvenanceName, seal_json(provenance_json));
  write_text(folder / kManifestName, manifest_text(manifest));
  storage::sync_folder(folder);
}

Manifest verify_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step, bool from_disk) {
  return as_damage([&] {
    Manifest manifest = read_manifest(folder / kManifestName);
    if (manifest.step != step) throw Damage(fmt::format("its manifest says step {}", manifest.step));
    for (const ListedFile& file : manifest.files) verify_file(folder, file, from_disk);
    return manifest;
  });
}

bool is_same_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& written, std::int64_t step) {
  try {
    verify_checkpoint_folder(folder, step);
    return storage::read_text_file(folder / kManifestName) == storage::read_text_file(written / kManifestName);
  } catch (const Damage&) {
    return false;
  }
}

LoadedCheckpoint read_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step,
                                        const std::string& run_identity) {
  const Manifest manifest = verify_checkpoint_folder(folder, step);
  if (manifest.run_identity != run_identity) {
    throw base::Error(base::ExitCode::data,
                      {.what = fmt::format("{} is a checkpoint of another network", folder.string()),
                       .value = fmt::format("it is of \"{}\", this run is \"{}\"", manifest.run_identity, run_identity),
                       .why = "its parameters do not fit the networks of this run",
                       .remedy = "use the options it was trained with, or a new run folder (--new-run)"});
  }
  return as_damage([&] {
    LoadedCheckpoint checkpoint{
        .step = manifest.step, .is_last = manifest.is_last, .content = {}, .provenance_json = ""};
    for (const ListedFile& file : manifest.files) {
      if (!file.name.ends_with(kArchiveSuffix)) continue;
      const std::string stem = file.name.substr(0, file.name.size() - kArchiveSuffix.size());
      checkpoint.content.archives[stem] = readable([&] { return storage::load_safetensors(folder / file.name); });
    }
    checkpoint.content.state_json = readable([&] { return storage::read_text_file(folder / kStateName); });
    checkpoint.provenance_json = readable([&] { return read_provenance(folder / kProvenanceName); });
    return checkpoint;
  });
}

}  // namespace leda::checkpoint
