#include "storage/durable_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

namespace leda::storage {
namespace {

std::string remedy_for(int error_number) {
  switch (error_number) {
    case ENOSPC:
    case EDQUOT:
      return "free space or raise the quota there, or choose a folder in another file system";
    case EFBIG:
      return "raise the file-size limit (ulimit -f), or choose another file system";
    case EACCES:
    case EPERM:
    case EROFS:
      return "choose a folder that this user may write to";
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EEXIST:
      return "check the path: each part before the last must be an existing folder, and nothing else may be in the way";
    default:
      return "check the file system, or choose another folder";
  }
}

// The system is asked to begin with the disk whenever so much has gathered.
constexpr std::uint64_t kWriteBackBytes = std::uint64_t{8} << 20;

// fsync of whatever `path` names; folders need it for the names in them.
void sync_path(const std::filesystem::path& path, int flags) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  if (descriptor < 0) throw storage_error("cannot open for fsync", path, errno);
  // Some network file systems refuse fsync on a folder; their renames are durable by themselves.
  const bool failed = fsync(descriptor) != 0 && !((flags & O_DIRECTORY) != 0 && errno == EINVAL);
  const int error_number = errno;
  close(descriptor);
  if (failed) throw storage_error("cannot fsync", path, error_number);
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

std::uint64_t free_bytes(const std::filesystem::path& path) {
  std::filesystem::path place = path.empty() ? std::filesystem::path(".") : path;
  struct statvfs status {};
  while (statvfs(place.c_str(), &status) != 0) {
    const std::filesystem::path above = folder_of(place);
    if (above == place || place == ".") return 0;
    place = above;
  }
  return static_cast<std::uint64_t>(status.f_bavail) * status.f_frsize;
}

base::Error storage_error(const std::string& what, const std::filesystem::path& path, int error_number) {
  return {
      base::ExitCode::storage,
      {.what = fmt::format("{} {}", what, path.string()),
       .value = fmt::format("{}, {} bytes free there", std::generic_category().message(error_number), free_bytes(path)),
       .why = "",
       .remedy = remedy_for(error_number)}};
}

FileWriter::FileWriter(std::filesystem::path path, Progress progress)
    : path_(std::move(path)), progress_(std::move(progress)) {
  descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor_ < 0) throw storage_error("cannot create", path_, errno);
}

FileWriter::~FileWriter() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

FileWriter::FileWriter(FileWriter&& other) noexcept
    : path_(std::move(other.path_)),
      progress_(std::move(other.progress_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      num_bytes_(other.num_bytes_),
      num_bytes_started_(other.num_bytes_started_),
      checksum_(std::move(other.checksum_)) {}

void FileWriter::write(std::span<const std::byte> bytes) {
  // In pieces, so that the checksum leaves them in the cache for the copy that write() makes.
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kPieceBytes));
    bytes = bytes.subspan(piece.size());
    checksum_.update(piece);
    write_piece(piece);
    if (num_bytes_ - num_bytes_started_ >= kWriteBackBytes) start_write_back();
    if (progress_) progress_(piece.size());
  }
}

void FileWriter::write_piece(std::span<const std::byte> piece) {
  while (!piece.empty()) {
    const ssize_t count = ::write(descriptor_, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    // A write of nothing, without a reason, is what some network file systems do when they are full.
    if (count <= 0) throw storage_error("cannot write", path_, count < 0 ? errno : ENOSPC);
    piece = piece.subspan(static_cast<std::size_t>(count));
    num_bytes_ += static_cast<std::uint64_t>(count);
  }
}

// A wish only: what goes wrong here, fsync reports.
void FileWriter::start_write_back() {
  sync_file_range(descriptor_, static_cast<off_t>(num_bytes_started_),
                  static_cast<off_t>(num_bytes_ - num_bytes_started_), SYNC_FILE_RANGE_WRITE);
  num_bytes_started_ = num_bytes_;
}

void FileWriter::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

WrittenFile FileWriter::close() {
  if (fsync(descriptor_) != 0) throw storage_error("cannot fsync", path_, errno);
  // Linux has let go of the descriptor even where close() reports an error.
  if (::close(std::exchange(descriptor_, -1)) != 0) throw storage_error("cannot close", path_, errno);
  return {num_bytes_, checksum_.value()};
}

void write_file_durably(const std::filesystem::path& path, std::string_view bytes) {
  const std::filesystem::path temporary =
      folder_of(path) / fmt::format(".{}_tmp-{}", path.filename().string(), getpid());
  try {
    FileWriter writer(temporary);
    writer.write(bytes);
    writer.close();
    rename_durably(temporary, path);
  } catch (...) {
    unlink(temporary.c_str());
    throw;
  }
}

void rename_durably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (rename(from.c_str(), to.c_str()) != 0) {
    throw storage_error(fmt::format("cannot rename {} to", from.string()), to, errno);
  }
  sync_folder(folder_of(to));
  if (folder_of(from) != folder_of(to)) sync_folder(folder_of(from));
}

void sync_file(const std::filesystem::path& path) { sync_path(path, 0); }

void sync_folder(const std::filesystem::path& path) { sync_path(path, O_DIRECTORY); }

std::string read_text_file(const std::filesystem::path& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  int error_number = descriptor < 0 ? errno : 0;
  std::string text;
  for (char buffer[16384]; error_number == 0;) {
    const ssize_t count = read(descriptor, buffer, sizeof buffer);
    if (count == 0) break;
    if (count > 0) {
      text.append(buffer, static_cast<std::size_t>(count));
    } else if (errno != EINTR) {
      error_number = errno;
    }
  }
  if (descriptor >= 0) ::close(descriptor);
  if (error_number == 0) return text;
  throw base::Error(base::ExitCode::data, {.what = fmt::format("cannot read {}", path.string()),
                                           .value = std::generic_category().message(error_number),
                                           .why = "",
                                           .remedy = "check that the file exists and may be read"});
}

}  // namespace leda::storage
