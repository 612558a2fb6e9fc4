// The metadata of the project's own safetensors files: which format, which version, and fields that must be there.
#pragma once

#include <filesystem>
#include <string>

#include "storage/safetensors.hpp"

namespace leda::model_files {

// Throws Error(data) that names file and field where it is missing.
const std::string& metadata_of(const storage::TensorArchive& archive, const std::string& key,
                               const std::filesystem::path& path);
// Throws Error(data) unless the fields `format` and `version` are these.
void require_format(const storage::TensorArchive& archive, const std::string& format, const std::string& version,
                    const std::filesystem::path& path);

// Whole or not at all: a reader never sees half a file. Throws Error(storage).
void save_network_file(const std::filesystem::path& path, const storage::TensorArchive& archive);

}  // namespace leda::model_files
