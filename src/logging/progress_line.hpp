// How far a run is: on a terminal a bar that is redrawn, in a log file one plain line per interval. The console must
// outlive it; used from one thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "logging/console.hpp"

namespace leda::logging {

class ProgressLine {
 public:
  // Steps count from 0 to num_steps; first_step is where this process began (a resumed run starts late, and its time
  // left is judged by its own steps only). interval_seconds is the time between two lines in a log.
  ProgressLine(Console& console, std::string title, std::int64_t num_steps, std::int64_t first_step,
               double interval_seconds);

  // `step` steps are done. `figures` is shown as it is, "loss 0.0123, 41.3 images/s" say.
  void update(std::int64_t step, const std::string& figures);
  // Shows the last state once more and leaves it standing.
  void finish();

 private:
  std::string line() const;
  void show();

  Console& console_;
  std::string title_;
  std::int64_t num_steps_;
  std::int64_t first_step_;
  double interval_seconds_;
  base::Stopwatch stopwatch_;
  double last_shown_seconds_ = -1.0;
  std::int64_t step_;
  std::int64_t last_shown_step_ = -1;
  std::string figures_;
};

// 65 -> "1:05", 3 725 -> "1:02:05"; "?" for what is not known (negative or not finite).
std::string duration_text(double seconds);

}  // namespace leda::logging
