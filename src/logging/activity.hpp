// What a run's allocated time goes into (docs/formats/ledger.md). Every moment of an attempt belongs to one of them.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace leda::logging {

enum class Activity : std::size_t {
  start_up,               // from the allocation to the first training or evaluation: libraries, MPI, data, networks
  data_wait,              // a step waits for its batch
  step,                   // computes, of the time of steps what is no wait
  exposed_communication,  // a step waits for other ranks
  checkpoint,             // training stands still for a save
  validation,
  evaluation,
  other,
};

inline constexpr std::size_t kNumActivities = 8;
// Keys in the ledger, in the order of the values.
inline constexpr std::array<std::string_view, kNumActivities> kActivityNames{
    "start_up", "data_wait", "step", "exposed_communication", "checkpoint", "validation", "evaluation", "other"};

// Seconds by activity.
using ActivitySeconds = std::array<double, kNumActivities>;

inline double& seconds_of(ActivitySeconds& seconds, Activity activity) {
  return seconds[static_cast<std::size_t>(activity)];
}
inline double seconds_of(const ActivitySeconds& seconds, Activity activity) {
  return seconds[static_cast<std::size_t>(activity)];
}
// What steps took, waits included.
inline double training_seconds(const ActivitySeconds& seconds) {
  return seconds_of(seconds, Activity::step) + seconds_of(seconds, Activity::data_wait) +
         seconds_of(seconds, Activity::exposed_communication);
}

}  // namespace leda::logging
