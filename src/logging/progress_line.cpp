#include "logging/progress_line.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace leda::logging {
namespace {

constexpr double kRedrawSeconds = 0.2;
constexpr int kBarWidth = 24;

std::string bar(double fraction) {
  const int num_full = static_cast<int>(fraction * kBarWidth);
  return fmt::format("[{}{}]", std::string(num_full, '#'), std::string(kBarWidth - num_full, '.'));
}

}  // namespace

ProgressLine::ProgressLine(Console& console, std::string title, std::int64_t num_steps, std::int64_t first_step,
                           double interval_seconds)
    : console_(console),
      title_(std::move(title)),
      num_steps_(num_steps),
      first_step_(first_step),
      interval_seconds_(interval_seconds),
      step_(first_step) {}

void ProgressLine::update(std::int64_t step, const std::string& figures) {
  if (!console_.is_root()) return;
  step_ = step;
  figures_ = figures;
  const double now = stopwatch_.seconds();
  const double interval = console_.is_terminal() ? kRedrawSeconds : interval_seconds_;
  if (last_shown_seconds_ >= 0.0 && now - last_shown_seconds_ < interval) return;
  last_shown_seconds_ = now;
  show();
}

void ProgressLine::finish() {
  if (!console_.is_root()) return;
  if (last_shown_step_ != step_) show();
  console_.keep_redrawn_line();
}

std::string ProgressLine::line() const {
  const double fraction =
      num_steps_ > 0 ? std::clamp(static_cast<double>(step_) / static_cast<double>(num_steps_), 0.0, 1.0) : 1.0;
  const std::int64_t num_done = step_ - first_step_;
  const double seconds_left =
      num_done > 0 ? stopwatch_.seconds() / static_cast<double>(num_done) * static_cast<double>(num_steps_ - step_)
                   : -1.0;
  std::string text = title_ + " ";
  if (console_.is_terminal()) text += bar(fraction) + " ";
  text += fmt::format("{:3d} %  step {}/{}", static_cast<int>(fraction * 100.0), step_, num_steps_);
  if (!figures_.empty()) text += "  " + figures_;
  if (step_ < num_steps_) text += "  " + duration_text(seconds_left) + " left";
  return text;
}

void ProgressLine::show() {
  last_shown_step_ = step_;
  if (console_.is_terminal()) {
    console_.redraw(line());
  } else {
    console_.info(line());
  }
}

std::string duration_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0.0 || seconds > 1e9) return "?";
  const auto total = static_cast<std::int64_t>(std::llround(seconds));
  const std::int64_t hours = total / 3600;
  const std::int64_t minutes = total / 60 % 60;
  if (hours == 0) return fmt::format("{}:{:02d}", minutes, total % 60);
  return fmt::format("{}:{:02d}:{:02d}", hours, minutes, total % 60);
}

}  // namespace leda::logging
