// Where a run's numbers go: folder/log.jsonl and TensorBoard files in folder/tensorboard. Only rank 0 writes. A log
// that cannot be written is worth a warning, once; it never ends a training. The console must outlive it; one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "logging/console.hpp"
#include "logging/json_lines_log.hpp"
#include "logging/tensorboard_log.hpp"

namespace leda::logging {

class RunLog {
 public:
  // On other ranks than the speaking one nothing is opened and every call returns at once.
  RunLog(Console& console, const std::filesystem::path& folder, bool writes_tensorboard = true);

  void write(std::int64_t step, std::span<const Scalar> scalars, const std::string& event = "");

 private:
  void warn_on_failure(const std::function<void()>& action);

  Console& console_;
  bool has_warned_ = false;
  std::unique_ptr<JsonLinesLog> json_lines_;
  std::unique_ptr<TensorBoardLog> tensorboard_;
};

}  // namespace leda::logging
