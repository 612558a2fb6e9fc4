#include "logging/run_log.hpp"

#include <fmt/format.h>

#include <exception>
#include <system_error>

namespace leda::logging {

RunLog::RunLog(Console& console, const std::filesystem::path& folder, bool writes_tensorboard) : console_(console) {
  if (!console_.is_root()) return;
  std::error_code failure;
  std::filesystem::create_directories(folder, failure);  // a failure shows when the files are opened
  warn_on_failure([&] { json_lines_ = std::make_unique<JsonLinesLog>(folder / "log.jsonl"); });
  if (!writes_tensorboard) return;
  warn_on_failure([&] { tensorboard_ = std::make_unique<TensorBoardLog>(folder / "tensorboard"); });
}

void RunLog::write(std::int64_t step, std::span<const Scalar> scalars, const std::string& event) {
  if (json_lines_) warn_on_failure([&] { json_lines_->write(step, scalars, event); });
  if (tensorboard_) warn_on_failure([&] { tensorboard_->scalars(step, scalars); });
}

void RunLog::warn_on_failure(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::exception& failure) {
    if (!has_warned_) console_.warning(fmt::format("the run goes on without complete logs: {}", failure.what()));
    has_warned_ = true;
  }
}

}  // namespace leda::logging
