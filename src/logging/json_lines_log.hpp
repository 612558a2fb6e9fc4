// A log for programs to read: one JSON object a line, {"time": .., "step": .., "event": .., name: value, ..}. Each
// line is handed to the system whole, so that a killed run leaves at most one torn line, the last. Docs:
// docs/formats/run_log.md. Used from one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

#include "logging/append_file.hpp"
#include "logging/scalar.hpp"

namespace leda::logging {

class JsonLinesLog {
 public:
  // Appends; creates the file where it is missing and takes a torn last line away. Error(storage) on failure.
  explicit JsonLinesLog(const std::filesystem::path& path);

  // NaN and the infinities, which JSON has no numbers for, become "NaN", "Infinity", "-Infinity". Error(storage).
  void write(std::int64_t step, std::span<const Scalar> scalars, const std::string& event = "");

 private:
  AppendFile file_;
};

}  // namespace leda::logging
