// One checkpoint's folder on disk, by itself: the names, the files, the manifest, and what makes it complete
// (docs/formats/checkpoint.md). Free functions; nothing here knows of ranks, other checkpoints or retention.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/archive_files.hpp"
#include "checkpoint/checkpoint_content.hpp"
#include "storage/checksum.hpp"

namespace leda::checkpoint {

// A folder that is no complete checkpoint; the message is the reason. Never leaves this room.
class DamagedCheckpoint : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A complete checkpoint of another run; `error` is what to say where there is no other. Never leaves this room.
class ForeignCheckpoint : public DamagedCheckpoint {
 public:
  ForeignCheckpoint(const std::string& reason, base::Error error)
      : DamagedCheckpoint(reason), error_(std::move(error)) {}
  const base::Error& error() const { return error_; }

 private:
  base::Error error_;
};

struct ListedFile {
  std::string name;
  std::uint64_t num_bytes = 0;
  std::string checksum;  // XXH3-64, 16 hexadecimal digits
};

struct Manifest {
  std::int64_t version = 2;  // of the format; 1 knows no archives in several files
  std::int64_t step = 0;
  bool is_last = false;
  std::string run_identity;
  std::vector<ListedFile> files;
};

std::string step_folder_name(std::int64_t step);  // step_00000500
// The step of a name step_folder_name() makes, of that and nothing else.
std::optional<std::int64_t> step_of_folder_name(const std::string& name);

// The list of the manifest as JSON text, and back. Throws DamagedCheckpoint where it is no such list.
std::string files_text(const std::vector<ListedFile>& files);
std::vector<ListedFile> parse_files(const std::string& text);

// One file of an archive, written and fsynced into `folder`, which exists. Error(storage).
ListedFile write_archive_file(const std::filesystem::path& folder, const ArchiveFile& file,
                              const CheckpointContent& content, const storage::Progress& progress);
// state.json, provenance.json (unless its text is "") and, last, the manifest, which lists state.json behind the files
// of `head`; fsyncs them and the folder. Error(storage).
Manifest write_head_files(const std::filesystem::path& folder, const Manifest& head, const std::string& state_json,
                          const std::string& provenance_json);

// Compares size and checksum with the disk (not the page cache, where the system obeys). Throws DamagedCheckpoint.
void read_back(const std::filesystem::path& folder, const ListedFile& file, const storage::Progress& progress);
// That the manifest on the disk is this one, and every file it lists is there in its size. Throws DamagedCheckpoint.
void read_back_manifest(const std::filesystem::path& folder, const Manifest& manifest);

// The manifest, after its own checksum and the size and checksum of every file it lists were compared. Throws
// DamagedCheckpoint; Error(data) for a newer format version.
Manifest verify_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step);

// True where `folder` is complete and every file the manifests list is the same in both. `written` is taken as
// verified.
bool is_same_checkpoint(const std::filesystem::path& folder, const std::filesystem::path& written, std::int64_t step);
// XXH3-64 of the text of manifest.json, and with it of all that the checkpoint holds. Error(data) where there is none.
std::string manifest_checksum(const std::filesystem::path& folder);

// Which of the readers on this host this is: each begins with other files, and finds those of the others in memory.
struct ReadingPlace {
  int local_rank = 0;
  int local_size = 1;
};

// Verified, of this run, and read, in one pass over the files. Throws DamagedCheckpoint, ForeignCheckpoint; Error(data)
// for a newer format version.
LoadedCheckpoint read_checkpoint_folder(const std::filesystem::path& folder, std::int64_t step,
                                        const std::string& run_identity, const ReadingPlace& place);

}  // namespace leda::checkpoint
