// Event files for TensorBoard, written without protobuf: tensorboard/compat/proto/{event,summary}.proto name the
// fields, TFRecord frames them. A new process writes a new file in the folder; TensorBoard joins them. Docs:
// docs/formats/run_log.md. Used from one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "logging/append_file.hpp"
#include "logging/scalar.hpp"

namespace leda::logging {

class TensorBoardLog {
 public:
  // Creates the folder where it is missing. Error(storage) on failure, as all that write.
  explicit TensorBoardLog(const std::filesystem::path& folder);

  void scalars(std::int64_t step, std::span<const Scalar> scalars);
  const std::filesystem::path& path() const { return file_.path(); }

 private:
  AppendFile file_;
};

// The bytes of the format, apart from any file.
std::uint32_t crc32c(std::string_view bytes);
std::uint32_t masked_crc32c(std::string_view bytes);
std::string tensorboard_record(std::string_view payload);
std::string tensorboard_version_event(double wall_time);
std::string tensorboard_scalar_event(double wall_time, std::int64_t step, std::span<const Scalar> scalars);
}  // namespace leda::logging
