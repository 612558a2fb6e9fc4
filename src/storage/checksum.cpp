#include "storage/checksum.hpp"

#define XXH_INLINE_ALL
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <vector>

#include "base/error.hpp"

namespace leda::storage {
namespace {

base::Error unreadable(const std::filesystem::path& path, int error_number) {
  return {base::ExitCode::data,
          {.what = fmt::format("cannot read {}", path.string()),
           .value = std::generic_category().message(error_number),
           .why = "",
           .remedy = "check that the file exists and may be read"}};
}

class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path) : descriptor_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    if (descriptor_ < 0) throw unreadable(path, errno);
  }
  ~OpenFile() { close(descriptor_); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

}  // namespace

struct RunningChecksum::State {
  XXH3_state_t xxh3;  // aligned to 64 bytes by its own declaration
};

RunningChecksum::RunningChecksum() : state_(std::make_unique<State>()) { XXH3_64bits_reset(&state_->xxh3); }
RunningChecksum::~RunningChecksum() = default;
RunningChecksum::RunningChecksum(RunningChecksum&&) noexcept = default;
RunningChecksum& RunningChecksum::operator=(RunningChecksum&&) noexcept = default;

void RunningChecksum::update(std::span<const std::byte> bytes) {
  if (!bytes.empty()) XXH3_64bits_update(&state_->xxh3, bytes.data(), bytes.size());
}

std::uint64_t RunningChecksum::value() const { return XXH3_64bits_digest(&state_->xxh3); }

std::uint64_t checksum(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

std::string checksum_text(std::uint64_t value) { return fmt::format("{:016x}", value); }

std::uint64_t file_checksum(const std::filesystem::path& path, const Progress& progress) {
  const OpenFile file(path);
  RunningChecksum running;
  std::vector<std::byte> piece(kPieceBytes);
  for (;;) {
    const ssize_t count = read(file.descriptor(), piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) throw unreadable(path, errno);
    if (count == 0) break;
    running.update(std::span(piece).first(static_cast<std::size_t>(count)));
    if (progress) progress(static_cast<std::uint64_t>(count));
  }
  return running.value();
}

}  // namespace leda::storage
