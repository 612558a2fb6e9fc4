#include "logging/append_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "base/error.hpp"

namespace leda::logging {

AppendFile::AppendFile(std::filesystem::path path, Opening opening) : path_(std::move(path)) {
  const int extra = opening == Opening::new_only ? O_EXCL : 0;
  file_ = open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | extra, 0644);
  if (file_ < 0) fail("opened");
}

AppendFile::~AppendFile() {
  if (file_ >= 0) close(file_);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)), file_(std::exchange(other.file_, -1)) {}

void AppendFile::append(std::string_view bytes) {
  const std::int64_t size_before = size();
  while (!bytes.empty()) {
    const ssize_t count = write(file_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int reason = errno;
      [[maybe_unused]] const int ignored = ftruncate(file_, size_before);  // the write's failure is what counts
      errno = reason;
      fail("written");
    }
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
}

std::int64_t AppendFile::size() const {
  struct stat status {};
  if (fstat(file_, &status) != 0) fail("examined");
  return status.st_size;
}

std::string AppendFile::read(std::int64_t offset, std::int64_t num_bytes) const {
  std::string bytes(static_cast<std::size_t>(num_bytes), '\0');
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t count =
        pread(file_, bytes.data() + done, bytes.size() - done, offset + static_cast<std::int64_t>(done));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read");
    if (count == 0) break;
    done += static_cast<std::size_t>(count);
  }
  bytes.resize(done);
  return bytes;
}

void AppendFile::cut(std::int64_t size) {
  if (ftruncate(file_, size) != 0) fail("cut");
}

void AppendFile::fail(const char* action) const {
  const int reason = errno;
  throw base::Error(base::ExitCode::storage,
                    {.what = fmt::format("the log file {} could not be {}", path_.string(), action),
                     .value = std::system_category().message(reason),
                     .why = "",
                     .remedy = "check that the folder exists, may be written by you and has space left"});
}

}  // namespace leda::logging
