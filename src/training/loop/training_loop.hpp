// The order of events of a training run, the same for both stages: take a batch, step, report, validate, save, look
// whether somebody wants the run to stop. Borrows everything; lives for one run of one stage.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/stop_signal.hpp"
#include "checkpoint/checkpoint_store.hpp"
#include "data/loading/batch_prefetcher.hpp"
#include "distributed/core/stop_agreement.hpp"
#include "logging/progress_line.hpp"
#include "logging/run_log.hpp"
#include "training/loop/checkpoint_schedule.hpp"
#include "training/loop/interval_statistics.hpp"
#include "training/loop/loop_state.hpp"
#include "training/loop/loop_timing.hpp"
#include "training/options/execution_environment.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"
#include "training/stages/training_plan.hpp"

namespace leda::training {

// What stands behind the progress line: the newest of each.
struct ProgressFigures {
  std::string interval;
  std::string validation;
};

// What a loop works with: borrowed, and of one training.
struct LoopParts {
  Stage& stage;
  const StageContext& context;
  const LoopOptions& options;
  const data::SliceLoader& loader;  // of the training slices
  checkpoint::CheckpointStore& store;
  logging::RunLog& log;
  // What this rank would like to do now.
  std::function<base::StopRequest()> stop_requested;
  // Whether its last checkpoint has to do without read-back and retention.
  std::function<bool()> is_urgent = base::is_stop_urgent;
};

class TrainingLoop {
 public:
  TrainingLoop(TrainingPlan plan, LoopParts parts);

  // Trains from the newest checkpoint, or from the start, to num_steps or to an agreed stop; either way the last state
  // is on disk when it returns. `none` means finished. Collective.
  base::StopRequest run();

 private:
  // Of the state after progress_.step.
  struct SaveState {
    bool is_best_pending = false;  // the best so far and not yet marked so
    bool is_saved = false;         // on disk, for all the ranks know
    bool is_due = false;
    bool has_reported_delay = false;
  };

  // False where there is no checkpoint.
  bool restore();
  void report_resume(const ExecutionEnvironment& environment_before) const;
  // From progress_.step to the end or an agreed stop.
  base::StopRequest train(distributed::StopAgreement& agreement, logging::ProgressLine& progress);
  data::BatchPlan batches() const;
  LossReport train_step(data::BatchPrefetcher& prefetcher, bool is_logged);
  base::StopRequest agree_on_stop(distributed::StopAgreement& agreement);
  void collect_skipped_updates();
  bool may_roll_back(const NonFiniteGradientError& fault);
  base::StopRequest roll_back(const NonFiniteGradientError& fault, distributed::StopAgreement& agreement);
  void log_interval(const data::BatchPrefetcher& prefetcher);
  void record_interval_timing(const WaitShares& shares);
  // What was agreed on meanwhile; where that is a stop, the step has yet to be validated.
  base::StopRequest validate(distributed::StopAgreement& agreement);
  bool is_at_end() const { return progress_.step >= plan_.num_steps; }
  bool is_finished() const { return progress_.step == plan_.num_steps && !progress_.is_validation_pending; }
  std::int64_t steps_per_epoch() const;
  // Of a step whose validation a stop came into: before anything else. Another stop may come into it again.
  base::StopRequest catch_up_on_validation(distributed::StopAgreement& agreement);
  void take_validation(const ValidationReport& report);
  [[noreturn]] void stop_diverged(const std::string& figure, const std::string& value);
  // Collective: ranks that have drifted apart save nothing.
  checkpoint::CheckpointContent content() const;
  std::string provenance() const;
  void record_save_outcome(const std::optional<checkpoint::SaveOutcome>& outcome);
  bool should_save(bool is_due);
  void save_in_background();
  void save_before_leaving(bool is_urgent);

  TrainingPlan plan_;
  LoopParts parts_;
  LoopTiming timing_;
  CheckpointSchedule checkpoint_schedule_;
  ExecutionEnvironment environment_;  // of this start
  base::Stopwatch since_start_;
  std::int64_t num_restarts_ = 0;
  LoopProgress progress_;
  SaveState save_;
  std::set<std::int64_t> rolled_back_steps_;
  IntervalStatistics interval_;
  ProgressFigures figures_;
};

}  // namespace leda::training
