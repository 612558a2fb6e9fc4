#include "checkpoint/write_probe.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

// A folder that is removed with all it holds at the end of the scope.
class ProbeFolder {
 public:
  explicit ProbeFolder(std::filesystem::path path) : path_(std::move(path)) {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
    if (mkdir(path_.c_str(), 0777) != 0) throw storage::storage_error("cannot create the folder", path_, errno);
  }
  ~ProbeFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  ProbeFolder(const ProbeFolder&) = delete;
  ProbeFolder& operator=(const ProbeFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// Sees quotas and file-size limits, which the free space of the file system does not show. File systems that cannot
// reserve say so, and are not asked further.
void reserve(const std::filesystem::path& file, std::uint64_t num_bytes) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) throw storage::storage_error("cannot open", file, errno);
  int failed = 0;
  do {
    failed = fallocate(descriptor, 0, 0, static_cast<off_t>(num_bytes));
  } while (failed != 0 && errno == EINTR);
  const int error_number = failed != 0 ? errno : 0;
  close(descriptor);
  if (error_number == 0 || error_number == EOPNOTSUPP || error_number == ENOSYS) return;
  throw storage::storage_error(fmt::format("cannot reserve the {} bytes of a checkpoint in", num_bytes), file,
                               error_number);
}

std::optional<dev_t> device_of(const std::filesystem::path& folder) {
  struct stat facts {};
  if (stat(folder.c_str(), &facts) != 0) return std::nullopt;
  return facts.st_dev;
}

}  // namespace

// A name is durable once the folder that holds it was synced. Also where the folders are there already: a start that
// was cut short, or another room, may have made them without that. Above a mount point nothing is the run's.
void create_folder_durably(const std::filesystem::path& folder) {
  std::error_code problem;
  const bool is_new = std::filesystem::create_directories(folder, problem);
  if (problem) throw storage::storage_error("cannot create the folder", folder, problem.value());
  std::filesystem::path child = std::filesystem::absolute(folder).lexically_normal();
  if (!child.has_filename()) child = child.parent_path();
  const auto device = device_of(child);
  for (std::filesystem::path parent = child.parent_path(); device_of(parent) == device; parent = parent.parent_path()) {
    try {
      storage::sync_folder(parent);
    } catch (const base::Error&) {
      if (is_new && parent == child.parent_path()) throw;
      return;  // not this user's to read, so it was there before the run
    }
    if (parent == parent.parent_path()) return;
  }
}

void probe_writing(const std::filesystem::path& folder, std::uint64_t expected_bytes) {
  if (const std::uint64_t available = storage::free_bytes(folder); available < expected_bytes) {
    throw storage::storage_error(fmt::format("a checkpoint takes {} bytes, too many for", expected_bytes), folder,
                                 ENOSPC);
  }
  const ProbeFolder probe(folder / fmt::format(".probe_tmp-{}", getpid()));
  storage::FileWriter writer(probe.path() / "written");
  writer.write(std::string(4096, 'x'));
  writer.close();
  if (expected_bytes > 0) reserve(probe.path() / "written", expected_bytes);
  storage::rename_durably(probe.path() / "written", probe.path() / "renamed");
}

}  // namespace leda::checkpoint
