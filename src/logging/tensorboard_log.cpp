#include "logging/tensorboard_log.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <system_error>

#include "base/clock.hpp"
#include "base/error.hpp"

namespace leda::logging {
namespace {

// CRC-32C (Castagnoli), reflected polynomial 0x82f63b78: the remainder of each byte value.
constexpr std::array<std::uint32_t, 256> make_crc_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit) remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82f63b78u : 0u);
    table[byte] = remainder;
  }
  return table;
}

constexpr std::array<std::uint32_t, 256> kCrcTable = make_crc_table();

template <typename Unsigned>
std::string little_endian(Unsigned value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof value; ++i) bytes += static_cast<char>(value >> (8 * i) & 0xff);
  return bytes;
}

// Protobuf's wire format: a field is (number << 3 | type), then a varint (0), 8 bytes (1), a length and bytes (2) or
// 4 bytes (5).
std::string varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>((value & 0x7f) | 0x80);
  return bytes + static_cast<char>(value);
}

std::string varint_field(int number, std::int64_t value) {
  return varint(static_cast<std::uint64_t>(number) << 3) + varint(static_cast<std::uint64_t>(value));
}

std::string double_field(int number, double value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 1) + little_endian(std::bit_cast<std::uint64_t>(value));
}

std::string float_field(int number, float value) {
  return varint(static_cast<std::uint64_t>(number) << 3 | 5) + little_endian(std::bit_cast<std::uint32_t>(value));
}

std::string bytes_field(int number, std::string_view bytes) {
  return (varint(static_cast<std::uint64_t>(number) << 3 | 2) + varint(bytes.size())).append(bytes);
}

// Field numbers of event.proto and summary.proto.
std::string event_with_summary(double wall_time, std::int64_t step, const std::string& values) {
  constexpr int kWallTime = 1, kStep = 2, kSummary = 5;
  return double_field(kWallTime, wall_time) + varint_field(kStep, step) + bytes_field(kSummary, values);
}

std::string host_name() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return "host";
  return name.data();
}

AppendFile make_event_file(const std::filesystem::path& folder) {
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);  // a failure shows when the file is opened
  const std::string name = fmt::format("events.out.tfevents.{:.0f}.{}.{}", base::unix_seconds(), host_name(), getpid());
  for (int i = 0;; ++i) {
    const auto path = folder / fmt::format("{}.{}", name, i);
    if (!std::filesystem::exists(path, failure)) return AppendFile(path, AppendFile::Opening::new_only);
  }
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : bytes) crc = (crc >> 8) ^ kCrcTable[(crc ^ static_cast<unsigned char>(byte)) & 0xff];
  return ~crc;
}

std::uint32_t masked_crc32c(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xa282ead8u; }

std::string tensorboard_record(std::string_view payload) {
  const std::string length = little_endian(static_cast<std::uint64_t>(payload.size()));
  return (length + little_endian(masked_crc32c(length))).append(payload) + little_endian(masked_crc32c(payload));
}

std::string tensorboard_version_event(double wall_time) {
  constexpr int kWallTime = 1, kFileVersion = 3;
  return double_field(kWallTime, wall_time) + bytes_field(kFileVersion, "brain.Event:2");
}

std::string tensorboard_scalar_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars) {
  constexpr int kValue = 1, kTag = 1, kSimpleValue = 2;
  std::string values;
  for (const Scalar& scalar : scalars) {
    values += bytes_field(kValue,
                          bytes_field(kTag, scalar.name) + float_field(kSimpleValue, static_cast<float>(scalar.value)));
  }
  return event_with_summary(wall_time, step, values);
}

TensorBoardLog::TensorBoardLog(const std::filesystem::path& folder) : file_(make_event_file(folder)) {
  file_.append(tensorboard_record(tensorboard_version_event(base::unix_seconds())));
}

void TensorBoardLog::scalars(std::int64_t step, std::span<const Scalar> scalars) {
  if (scalars.empty()) return;
  file_.append(tensorboard_record(tensorboard_scalar_event(base::unix_seconds(), step, scalars)));
}

}  // namespace leda::logging
