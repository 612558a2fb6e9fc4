// What a training loop gathers between two lines of its log: the stage's reports of each step, and how the time went.
// One thread; what is said to be collective is called on every rank after the same step.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/scalar.hpp"
#include "logging/trace.hpp"
#include "training/stages/stage.hpp"

namespace leda::training {

// Of the time of steps, 0 to 1, means over ranks: one rank's wait is another's work.
struct WaitShares {
  double data = 0.0;
  double exposed_communication = 0.0;
};

class IntervalStatistics {
 public:
  // `trace` knows how long a rank was blocked; without one no wait for other ranks is counted.
  IntervalStatistics(distributed::Communicator& communicator, const logging::Trace* trace)
      : communicator_(communicator), trace_(trace) {}

  // Afresh. `data_wait_seconds`: what the prefetcher, which counts on, had waited until now.
  void begin(double data_wait_seconds);

  // The time of this object's life is time of steps; validation and checkpoints are not.
  class StepTime {
   public:
    explicit StepTime(IntervalStatistics& statistics)
        : statistics_(statistics), begin_(base::steady_seconds()), blocked_(statistics.blocked_seconds_so_far()) {}
    ~StepTime();
    StepTime(const StepTime&) = delete;
    StepTime& operator=(const StepTime&) = delete;

   private:
    IntervalStatistics& statistics_;
    double begin_;
    double blocked_;
  };

  void add_images(std::int64_t num_images) { num_images_ += num_images; }
  void add_report(const LossReport& report);
  bool has_reports() const { return !reports_.empty(); }

  // Sums over ranks and samples in an order that does not depend on the ranks, then means over the steps whose update
  // was made, by name; of skipped updates their number. Collective.
  std::vector<logging::Scalar> means() const;
  // `data_wait_seconds` as in begin(). Collective.
  WaitShares wait_shares(double data_wait_seconds) const;
  double images_per_second() const;
  double step_seconds() const { return step_seconds_; }

 private:
  double blocked_seconds_so_far() const;

  distributed::Communicator& communicator_;
  const logging::Trace* trace_;
  std::vector<std::string> names_;
  std::vector<at::Tensor> reports_;  // by step: float64 [names, samples or 1], this rank's parts
  std::int64_t num_images_ = 0;
  base::Stopwatch since_begin_;
  double data_wait_at_begin_ = 0.0;
  double step_seconds_ = 0.0;
  double blocked_seconds_ = 0.0;
};

}  // namespace leda::training
