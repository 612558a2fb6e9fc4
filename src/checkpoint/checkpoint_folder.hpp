// One checkpoint's folder on disk, by itself: the names, the files, the manifest, and what makes it complete
// (docs/formats/checkpoint.md). Free functions; nothing here knows of ranks, other checkpoints or retention.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_content.hpp"

namespace leda::checkpoint {

// A folder that is no complete checkpoint; the message is the reason. Never leaves this room.
class Damage : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ListedFile {
  std::string name;
  std::uint64_t num_bytes = 0;
  std::string checksum;  // XXH3-64, 16 hexadecimal digits
};

struct Manifest {
  std::int64_t step = 0;
  bool is_last = false;
  std::string run_identity;
  std::vector<ListedFile> files;
};

std::string step_folder_name(std::int64_t step);  // step_00000500
// The step of a name step_folder_name() makes, of that and nothing else.
std::optional<std::int64_t> step_of_folder_name(const std::string& name);

// Creates `folder` (its parent exists, it does not), writes every file, the manifest last, and fsyncs all of it.
// `provenance_json` may be "". Error(storage).
void write_checkpoint_folder(const std::filesystem::path& folder, const Manifest& head,
                             const CheckpointContent& content, const std::string& provenance_json);

// The manifest, after its own seal and the size and checksum of every file it lists were compared with the disk (not
// the page cache, where `from_disk` and the system obeys). Throws Damage; Error(data) for a newer format version.
Manifest verify_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step, bool from_disk = false);

// True where `folder` is complete and every file the manifests list is the same in both. `written` is taken as
// verified.
bool is_same_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& written, std::int64_t step);

// Verified, of this network, and read. Throws Damage; Error(data) for another network or a newer format version.
LoadedCheckpoint read_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step,
                                        const std::string& run_identity);

}  // namespace leda::checkpoint
