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
#include "training/loop/loop_account.hpp"
#include "training/loop/save_cadence.hpp"
#include "training/options/machine_facts.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"

namespace leda::training {

struct LoopPlan {
  std::string title;  // "stage 1", in messages and progress lines
  std::int64_t num_steps = 0;
  std::int64_t global_batch = 1;
  LearningRateSchedule schedule;
  std::uint64_t seed = 0;
  std::string phase{};  // its folder's name, by which the ledger knows it over all starts
};

class TrainingLoop {
 public:
  // `training` is the set that `loader` reads. `stop_requested` says what this rank would like to do now, `is_hasty`
  // whether its last checkpoint has to do without read-back and retention.
  TrainingLoop(LoopPlan plan, Stage& stage, const StageContext& context, const data::ShardCatalogue& training,
               const data::SliceLoader& loader, checkpoint::CheckpointStore& store, logging::RunLog& log,
               std::function<base::StopRequest()> stop_requested, std::function<bool()> is_hasty = base::is_stop_hasty);

  // Trains from the newest checkpoint, or from the start, to num_steps or to an agreed stop; either way the last state
  // is on disk when it returns. `none` means finished. Collective.
  base::StopRequest run();

 private:
  class StepTime;
  struct WaitShares {  // of the time of steps, 0 to 1
    double data = 0.0;
    double exposed_communication = 0.0;
  };

  // False where there is no checkpoint.
  bool restore();
  // From step_ to the end or an agreed stop.
  base::StopRequest train(distributed::StopAgreement& agreement, logging::ProgressLine& progress);
  data::BatchPlan batches() const;
  LossReport train_step(data::BatchPrefetcher& prefetcher);
  base::StopRequest agree_on_stop(distributed::StopAgreement& agreement);
  double seconds_blocked() const;
  void settle_updates();
  bool may_roll_back(const NonFiniteGradientError& fault);
  base::StopRequest roll_back(const NonFiniteGradientError& fault, distributed::StopAgreement& agreement);
  void add_report(const LossReport& report);
  std::vector<logging::Scalar> interval_means();
  void log_interval(const data::BatchPrefetcher& prefetcher);
  WaitShares wait_shares(const data::BatchPrefetcher& prefetcher) const;
  void account_for_interval(const WaitShares& shares);
  // What was agreed on meanwhile; where that is a stop, the step has yet to be validated.
  base::StopRequest validate(distributed::StopAgreement& agreement);
  bool is_finished() const { return step_ == plan_.num_steps && !is_validation_pending_; }
  // Of a step whose validation a stop came into: before anything else. Another stop may come into it again.
  base::StopRequest catch_up_on_validation(distributed::StopAgreement& agreement);
  void take_validation(const ValidationReport& report);
  [[noreturn]] void stop_diverged(const std::string& figure, const std::string& value);
  // Collective: ranks that have drifted apart save nothing.
  checkpoint::CheckpointContent content() const;
  std::string provenance() const;
  void take_outcome(const std::optional<checkpoint::SaveOutcome>& outcome);
  bool should_save(bool is_due);
  void save_in_background();
  void save_before_leaving(bool is_hasty);

  LoopPlan plan_;
  Stage& stage_;
  const StageContext& context_;
  const data::ShardCatalogue& training_;
  const data::SliceLoader& loader_;
  checkpoint::CheckpointStore& store_;
  logging::RunLog& log_;
  std::function<base::StopRequest()> stop_requested_;
  std::function<bool()> is_hasty_;
  LoopAccount account_;
  SaveCadence cadence_;
  MachineFacts machine_;  // of this start

  std::int64_t step_ = 0;  // updates made
  std::int64_t num_restarts_ = 0;
  double best_criterion_ = 0.0;
  std::int64_t best_step_ = -1;
  bool is_best_pending_ = false;        // step_ is the best so far and not yet marked so
  bool is_saved_ = false;               // the state of step_ is on disk, for all the ranks know
  bool is_validation_pending_ = false;  // of step_
  bool is_save_due_ = false;
  bool has_said_put_off_ = false;
  std::set<std::int64_t> rolled_back_steps_;

  // Of the current logging interval.
  std::vector<std::string> report_names_;
  std::vector<at::Tensor> interval_reports_;  // by step: float64 [names, samples or 1], this rank's parts
  std::int64_t interval_images_ = 0;
  double interval_start_seconds_ = 0.0;
  double wait_at_interval_start_ = 0.0;
  double interval_step_seconds_ = 0.0;
  double interval_blocked_seconds_ = 0.0;
  std::string figures_;
  std::string validation_figures_;
  base::Stopwatch stopwatch_;
};

}  // namespace leda::training
