#include "model_files/archive_metadata.hpp"

#include <fmt/format.h>

#include "base/error.hpp"
#include "storage/durable_file.hpp"

namespace leda::model_files {

const std::string& metadata_of(const storage::TensorArchive& archive, const std::string& key,
                               const std::filesystem::path& path) {
  const auto found = archive.metadata.find(key);
  if (found != archive.metadata.end()) return found->second;
  throw base::Error(base::ExitCode::data, {.what = path.string() + ": metadata " + key,
                                           .value = "missing",
                                           .why = "without it the network cannot be built as it was trained",
                                           .remedy = "use a file that leda_dist_train wrote"});
}

void require_format(const storage::TensorArchive& archive, const std::string& format, const std::string& version,
                    const std::filesystem::path& path) {
  const std::string& found_format = metadata_of(archive, "format", path);
  const std::string& found_version = metadata_of(archive, "version", path);
  if (found_format == format && found_version == version) return;
  throw base::Error(base::ExitCode::data, {.what = path.string() + " has another format",
                                           .value = found_format + " version " + found_version,
                                           .why = fmt::format("{} version {} is needed here", format, version),
                                           .remedy = "use the file that this version's leda_dist_train wrote"});
}

void save_network_file(const std::filesystem::path& path, const storage::TensorArchive& archive) {
  const std::filesystem::path part = path.string() + ".part";
  storage::save_safetensors(part, archive);
  storage::rename_durably(part, path);
}

}  // namespace leda::model_files
