#include "training/options/time_limit.hpp"

#include <algorithm>
#include <utility>

namespace leda::training {
namespace {

// One step until the votes of the step before are read, one that may just have begun.
constexpr double kStepsToAgree = 2.0;
// A save costlier than this share of the costliest before replaces it: costs that come down are believed slowly.
constexpr double kCostDecay = 0.8;

}  // namespace

TimeLimit::TimeLimit(const TimeLimitOptions& options, std::function<double()> clock)
    : options_(options), clock_(std::move(clock)), begin_(clock_()) {}

void TimeLimit::note_progress(double seconds) {
  has_progressed_ = true;
  step_seconds_ = std::max(seconds, kCostDecay * step_seconds_);
}

void TimeLimit::note_save(double seconds) { save_seconds_ = std::max(seconds, kCostDecay * save_seconds_); }

double TimeLimit::seconds_to_leave() const { return save_seconds_ + kStepsToAgree * step_seconds_; }

bool TimeLimit::is_near() const {
  if (!has_progressed_) return false;
  const double done = clock_() + seconds_to_leave();
  const bool is_own_near = options_.max_seconds > 0.0 && done > begin_ + options_.max_seconds;
  const bool is_end_near = options_.end_of_nodes && done + options_.margin_seconds > *options_.end_of_nodes;
  return is_own_near || is_end_near;
}

}  // namespace leda::training
