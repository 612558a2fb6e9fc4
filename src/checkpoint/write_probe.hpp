// Whether a checkpoint could be written, asked before hours of training depend on it.
#pragma once

#include <cstdint>
#include <filesystem>

namespace leda::checkpoint {

// Creates `folder` with all folders above it, and makes their names durable. Error(storage).
void create_folder_durably(const std::filesystem::path& folder);

// In `folder`, which exists: creates a folder and a file in it, writes, reserves `expected_bytes`, fsyncs, renames,
// and removes both again. Error(storage) with the step that failed and why.
void probe_writing(const std::filesystem::path& folder, std::uint64_t expected_bytes);

}  // namespace leda::checkpoint
