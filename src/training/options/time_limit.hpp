// When a run has to leave for lack of time: early enough for its last checkpoint to be complete before run.max_seconds
// are over, or before the batch system takes the nodes away. Each rank has its own; they agree as they do on signals.
// Lives in the job; one thread.
#pragma once

#include <functional>
#include <optional>

namespace leda::training {

struct TimeLimitOptions {
  double max_seconds = 0.0;            // of this start, from the construction of the limit; 0 = none
  std::optional<double> end_of_nodes;  // Unix seconds
  double margin_seconds = 0.0;         // kept free before end_of_nodes, beside what leaving is known to take
};

class TimeLimit {
 public:
  // `clock`: Unix seconds, base::unix_seconds.
  TimeLimit(const TimeLimitOptions& options, std::function<double()> clock);

  // A step, a validation, an evaluation has been completed: a start that could not complete one would never come
  // further, however often it is repeated. `seconds`: of a step, all included.
  void note_progress(double seconds);
  // A checkpoint took this long, from the snapshot to the end of its last fsync.
  void note_save(double seconds);

  // The time is over, or would be before leaving was done. Never before the first note_progress().
  bool is_near() const;
  // What leaving is expected to take: the costliest of the last saves, and the steps until all ranks have agreed.
  double seconds_to_leave() const;

 private:
  TimeLimitOptions options_;
  std::function<double()> clock_;
  double begin_;
  bool has_progressed_ = false;
  double step_seconds_ = 0.0;
  double save_seconds_ = 0.0;
};

}  // namespace leda::training
