// Files that are on the disk when a call returns, or an Error(storage) that names file, reason and free space. Every
// write goes through FileWriter, which knows about short writes, interrupted calls and full disks.
// A file-size limit (RLIMIT_FSIZE) ends a process by SIGXFSZ unless it ignores that signal; then it is an Error too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "storage/checksum.hpp"

namespace leda::storage {

struct WrittenFile {
  std::uint64_t num_bytes = 0;
  std::uint64_t checksum = 0;  // XXH3-64 of the bytes handed to the writer, not of what the disk made of them
};

// A file being written, from the first byte. Only close() promises that the bytes are on the disk; a writer that is
// destroyed without it leaves what was written so far. The disk is set to work as the bytes come, so that the fsync at
// the end finds little left to do. Used from one thread.
class FileWriter {
 public:
  // Creates the file or empties the one that is there.
  explicit FileWriter(std::filesystem::path path, Progress progress = {});
  ~FileWriter();
  FileWriter(FileWriter&& other) noexcept;
  FileWriter& operator=(FileWriter&&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);
  // fsync and close.
  WrittenFile close();

 private:
  void write_piece(std::span<const std::byte> piece);
  void start_write_back();

  std::filesystem::path path_;
  Progress progress_;
  int descriptor_ = -1;
  std::uint64_t num_bytes_ = 0;
  std::uint64_t num_bytes_started_ = 0;  // on their way to the disk
  RunningChecksum checksum_;
};

// Replaces `path` as a whole: a reader sees the old bytes or the new ones, also after a crash. The temporary file
// `.NAME_tmp-PID` lies beside it and is removed where something fails.
void write_file_durably(const std::filesystem::path& path, std::string_view bytes);
// rename(2), then fsync of the folder (both, where they differ).
void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to);
void sync_file(const std::filesystem::path& path);
void sync_folder(const std::filesystem::path& path);

// The whole file. Error(data) where it is missing or cannot be read.
std::string read_text_file(const std::filesystem::path& path);

// The Error(storage) of a failed system call on `path`: its reason from `error_number`, and the free space there.
base::Error storage_error(const std::string& what, const std::filesystem::path& path, int error_number);
// Bytes a user may still write in the file system of `path` (or of its nearest folder that exists), 0 if unknown.
std::uint64_t free_bytes(const std::filesystem::path& path);

}  // namespace leda::storage
