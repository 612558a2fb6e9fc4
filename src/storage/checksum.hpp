// The one checksum of every file format here: XXH3-64 with seed 0, written as 16 lower-case hexadecimal digits. It
// finds damage, not forgery. Free functions; RunningChecksum is movable and used from one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace leda::storage {

// Told of every piece of a file, a few MiB at most, that was just read or written. What it throws ends the work.
using Progress = std::function<void(std::uint64_t num_bytes)>;
// The size of those pieces: small enough for a processor's cache, large enough for a disk.
inline constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

std::uint64_t checksum(std::span<const std::byte> bytes);
// 16 lower-case hexadecimal digits, most significant first.
std::string checksum_text(std::uint64_t value);
// Of a whole file, read in pieces. Error(data) where it cannot be read.
std::uint64_t file_checksum(const std::filesystem::path& path, const Progress& progress = {});

// The same value for bytes that arrive in pieces, however they are cut.
class RunningChecksum {
 public:
  RunningChecksum();
  ~RunningChecksum();
  RunningChecksum(RunningChecksum&&) noexcept;
  RunningChecksum& operator=(RunningChecksum&&) noexcept;

  void update(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace leda::storage
