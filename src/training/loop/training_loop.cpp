#include "training/loop/training_loop.hpp"

#include <fmt/format.h>
#include <torch/csrc/api/include/torch/version.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "distributed/core/host_name.hpp"
#include "training/loop/replica_check.hpp"

namespace leda::training {

TrainingLoop::TrainingLoop(TrainingPlan plan, LoopParts parts)
    : plan_(std::move(plan)),
      parts_(std::move(parts)),
      timing_(plan_.folder, parts_.context.ledger, parts_.context.time_limit),
      checkpoint_schedule_(plan_.title, parts_.options, parts_.context.ledger),
      environment_(gather_execution_environment(parts_.context.communicator, parts_.context.settings.device,
                                                parts_.context.distributed.reproducible)),
      interval_(parts_.context.communicator, parts_.context.trace) {}

std::int64_t TrainingLoop::steps_per_epoch() const {
  return data::steps_per_epoch(parts_.loader.catalogue().num_slices(), plan_.global_batch);
}

base::StopRequest TrainingLoop::run() {
  const bool is_resumed = restore();
  if (is_at_end() && save_.is_saved) return base::StopRequest::none;
  timing_.begin(progress_.step);
  checkpoint_schedule_.note_saved(progress_.step);
  // Somewhere to roll back to from the first step on.
  if (!is_resumed && parts_.context.training.on_non_finite == NonFiniteReaction::roll_back) save_in_background();

  distributed::StopAgreement agreement(parts_.context.communicator);
  logging::ProgressLine progress(parts_.context.console, plan_.title, plan_.num_steps, progress_.step,
                                 parts_.options.logging.progress_seconds);
  base::StopRequest stop = catch_up_on_validation(agreement);
  while (!is_at_end() && stop == base::StopRequest::none) {
    try {
      stop = train(agreement, progress);
    } catch (const NonFiniteGradientError& fault) {
      if (!may_roll_back(fault)) {
        record_save_outcome(parts_.store.finish());
        throw;
      }
      stop = roll_back(fault, agreement);
    }
  }
  progress.finish();
  const base::StopRequest late = agreement.drain();
  if (!is_finished() && stop == base::StopRequest::none) stop = late;
  save_before_leaving(agreement.is_any_urgent(parts_.is_urgent()));
  return is_finished() ? base::StopRequest::none : stop;
}

base::StopRequest TrainingLoop::train(distributed::StopAgreement& agreement, logging::ProgressLine& progress) {
  const data::EpochOrder order(parts_.loader.catalogue().num_slices(), plan_.seed);
  data::BatchPrefetcher prefetcher(parts_.loader, order, batches(), {progress_.step, plan_.num_steps},
                                   static_cast<int>(parts_.options.queue_depth));
  const auto is_due = [](std::int64_t step, std::int64_t cadence) { return cadence > 0 && step % cadence == 0; };
  interval_.begin(0.0);
  const logging::ActivityScope time(timing_.ledger(), logging::Activity::step);

  base::StopRequest stop = base::StopRequest::none;
  while (!is_at_end() && stop == base::StopRequest::none) {
    const base::Stopwatch step_time;
    const std::int64_t next_step = progress_.step + 1;
    const bool is_end = next_step == plan_.num_steps;
    const bool is_logging = is_due(next_step, parts_.options.logging.every_num_steps) || is_end;
    const LossReport report = train_step(prefetcher, is_logging);
    progress_.step = next_step;
    timing_.step_done(step_time.seconds());
    checkpoint_schedule_.note_step(step_time.seconds(), parts_.store.is_saving());
    save_.is_saved = false;
    interval_.add_report(report);
    const bool is_validating = is_due(next_step, parts_.context.training.validate_every_num_steps) || is_end;
    const bool is_saving = !is_end && should_save(checkpoint_schedule_.is_due(progress_.step));
    // No checkpoint is written over an update that somebody has yet to hear of.
    if (is_logging || is_validating || is_saving) collect_skipped_updates();
    if (is_logging) log_interval(prefetcher);
    if (is_validating) stop = validate(agreement);
    if (stop != base::StopRequest::none) break;
    // A new best is saved at once, whatever the cadence: it is kept as that step's checkpoint.
    if (is_saving || (save_.is_best_pending && !is_end)) save_in_background();
    progress.update(progress_.step, figures_.interval);
    stop = agree_on_stop(agreement);
  }
  collect_skipped_updates();
  if (interval_.has_reports()) record_interval_timing(interval_.wait_shares(prefetcher.seconds_waited()));
  return stop;
}

data::BatchPlan TrainingLoop::batches() const {
  const int size = parts_.context.communicator.size();
  std::int64_t micro_batch = parts_.context.training.max_micro_batch;
  if (micro_batch == 0) micro_batch = (plan_.global_batch + size - 1) / size;
  if (parts_.context.distributed.reproducible) micro_batch = 1;
  return {plan_.global_batch, micro_batch, parts_.context.communicator.rank(), size};
}

void TrainingLoop::collect_skipped_updates() {
  for (const SkippedUpdates& skipped : parts_.stage.collect_skipped_updates()) {
    parts_.context.console.warning(
        fmt::format("{}: {} update{} by step {} skipped, a gradient was not finite; the first: {}", plan_.title,
                    skipped.count, skipped.count == 1 ? "" : "s", progress_.step, skipped.text()));
  }
}

// A fault that comes back at the step where it was before is no accident.
bool TrainingLoop::may_roll_back(const NonFiniteGradientError& fault) {
  return parts_.context.training.on_non_finite == NonFiniteReaction::roll_back &&
         rolled_back_steps_.insert(fault.step()).second;
}

base::StopRequest TrainingLoop::roll_back(const NonFiniteGradientError& fault, distributed::StopAgreement& agreement) {
  parts_.context.console.warning(
      fmt::format("{}: a gradient was not finite ({}); training goes back to the last checkpoint", plan_.title,
                  fault.text().value));
  interval_.begin(0.0);
  save_.is_best_pending = false;
  save_.is_due = false;
  timing_.interval_done(progress_.step, 0.0, 0.0);
  if (!restore()) throw NonFiniteGradientError(fault);
  timing_.begin(progress_.step);
  checkpoint_schedule_.note_saved(progress_.step);
  parts_.stage.interval_figures();  // counts begin afresh
  return catch_up_on_validation(agreement);
}

LossReport TrainingLoop::train_step(data::BatchPrefetcher& prefetcher, bool is_logged) {
  const IntervalStatistics::StepTime time(interval_);
  const auto next = [&] {
    const logging::Span wait(parts_.context.trace, "data wait", progress_.step);
    return prefetcher.next();
  };
  parts_.context.communicator.note(fmt::format("step {}: waits for data", progress_.step + 1));
  const data::StepBatch batch = next();
  parts_.context.communicator.note(fmt::format("step {}: computes", progress_.step + 1));
  interval_.add_images(batch.global_count);
  const logging::Span span(parts_.context.trace, "step", progress_.step);
  return parts_.stage.train_step(batch, is_logged);
}

base::StopRequest TrainingLoop::agree_on_stop(distributed::StopAgreement& agreement) {
  const IntervalStatistics::StepTime time(interval_);
  const logging::Span wait(parts_.context.trace, "stop agreement", progress_.step - 1,
                           logging::Span::Kind::exposed_wait);
  return agreement.exchange(parts_.stop_requested());
}

void TrainingLoop::log_interval(const data::BatchPrefetcher& prefetcher) {
  std::vector<logging::Scalar> scalars = interval_.means();
  // Absent where every update of the interval was skipped.
  const auto loss = std::find_if(scalars.begin(), scalars.end(), [](const auto& one) { return one.name == "loss"; });
  std::string loss_text = "no update made";
  if (loss != scalars.end()) {
    loss_text = fmt::format("loss {:.5g}", loss->value);
    if (!std::isfinite(loss->value)) stop_diverged("the loss", fmt::format("{}", loss->value));
  }
  for (logging::Scalar& figure : parts_.stage.interval_figures()) scalars.push_back(std::move(figure));
  const double images_per_second = interval_.images_per_second();
  scalars.push_back({"learning_rate", plan_.schedule.rate(progress_.step - 1)});
  scalars.push_back({"epoch", static_cast<double>((progress_.step - 1) / steps_per_epoch())});
  scalars.push_back({"images_per_second", images_per_second});
  const WaitShares waits = interval_.wait_shares(prefetcher.seconds_waited());
  const auto [data_wait, exposed] = waits;
  record_interval_timing(waits);
  scalars.push_back({"data_wait_share", data_wait});
  scalars.push_back({"exposed_communication_share", exposed});
  parts_.log.write(progress_.step, scalars);
  figures_.interval = fmt::format("{}, {:.1f} images/s, waits: data {:.0f} %, ranks {:.0f} %{}", loss_text,
                                  images_per_second, 100.0 * data_wait, 100.0 * exposed, figures_.validation);
  if (parts_.context.trace != nullptr) parts_.context.trace->flush();
  checkpoint_schedule_.choose(parts_.store.costs(), parts_.context.communicator, parts_.context.console);
  interval_.begin(prefetcher.seconds_waited());
}

void TrainingLoop::record_interval_timing(const WaitShares& shares) {
  timing_.interval_done(progress_.step, shares.data * interval_.step_seconds(),
                        shares.exposed_communication * interval_.step_seconds());
}

void TrainingLoop::stop_diverged(const std::string& figure, const std::string& value) {
  record_save_outcome(parts_.store.finish());
  throw base::ErrorOnAllRanks(
      base::ExitCode::non_finite,
      {.what = fmt::format("{} diverged at step {}: {}", plan_.title, progress_.step, figure),
       .value = value,
       .why = "going on would train on garbage",
       .remedy = "lower the learning rate or set training.max_gradient_norm; earlier checkpoints are kept"});
}

base::StopRequest TrainingLoop::validate(distributed::StopAgreement& agreement) {
  const logging::ActivityScope time(timing_.ledger(), logging::Activity::validation);
  const logging::Span span(parts_.context.trace, "validation", progress_.step - 1);
  base::StopRequest stop = base::StopRequest::none;
  const auto should_stop = [&] {
    stop = agreement.exchange(parts_.stop_requested());
    return stop != base::StopRequest::none;
  };
  const std::optional<ValidationReport> report = parts_.stage.validate(progress_.step, should_stop);
  progress_.is_validation_pending = !report;
  if (report) take_validation(*report);
  return stop;
}

base::StopRequest TrainingLoop::catch_up_on_validation(distributed::StopAgreement& agreement) {
  if (!progress_.is_validation_pending) return base::StopRequest::none;
  const base::StopRequest stop = validate(agreement);
  if (save_.is_best_pending && !is_at_end()) save_in_background();
  return stop;
}

void TrainingLoop::take_validation(const ValidationReport& report) {
  std::vector<logging::Scalar> scalars;
  for (const logging::Scalar& figure : report.figures) scalars.push_back({"validation_" + figure.name, figure.value});
  parts_.log.write(progress_.step, scalars, "validation");
  figures_.validation = fmt::format(", validation {} {:.2f} HU", report.criterion_name, report.criterion);
  const double factor = parts_.context.training.divergence_factor;
  const bool has_best = progress_.best_step >= 0;
  const double reference = has_best ? progress_.best_criterion : report.untrained_criterion;
  const bool is_worse = factor > 0.0 && reference > 0.0 && report.criterion > factor * reference;
  if (!std::isfinite(report.criterion) || is_worse) {
    stop_diverged("validation, " + report.criterion_name,
                  fmt::format("{:.4g}, {} {:.4g}", report.criterion,
                              has_best ? fmt::format("the best, at step {}, was", progress_.best_step)
                                       : "without a network it is",
                              reference));
  }
  if (!has_best || report.criterion < progress_.best_criterion) {
    progress_.best_criterion = report.criterion;
    progress_.best_step = progress_.step;
    save_.is_best_pending = true;
  }
}

checkpoint::CheckpointContent TrainingLoop::content() const {
  StageState stage = parts_.stage.state();
  require_equal_replicas(stage.networks, progress_.step, parts_.context.communicator);
  const data::ShardCatalogue& training = parts_.loader.catalogue();
  const SavedLoop saved{.progress = progress_,
                        .num_steps = plan_.num_steps,
                        .steps_per_epoch = steps_per_epoch(),
                        .global_batch = plan_.global_batch,
                        .seed = plan_.seed,
                        .learning_rate = plan_.schedule.rate(progress_.step),
                        .data_fingerprint = training.fingerprint(),
                        .environment = environment_,
                        .stage_facts = std::move(stage.facts)};
  checkpoint::CheckpointContent content;
  content.archives["networks"] = std::move(stage.networks);
  content.archives["optimisers"] = std::move(stage.optimisers);
  content.state_json = to_json(saved);
  return content;
}

std::string TrainingLoop::provenance() const {
  return nlohmann::json{{"host", distributed::host_name()},
                        {"saved", base::utc_now()},
                        {"leda_version", LEDA_VERSION},
                        {"libtorch", TORCH_VERSION},
                        {"num_ranks", parts_.context.communicator.size()},
                        {"seconds_since_start", since_start_.seconds()},
                        {"restarts", num_restarts_}}
      .dump(2);
}

bool TrainingLoop::restore() {
  std::optional<checkpoint::LoadedCheckpoint> loaded = parts_.store.load_newest();
  if (!loaded) return false;
  SavedLoop saved = saved_loop_of(loaded->content.state_json);
  const data::ShardCatalogue& training = parts_.loader.catalogue();
  if (saved.data_fingerprint != training.fingerprint()) {
    throw base::ErrorOnAllRanks(base::ExitCode::data,
                                {.what = "the training data is not the data this run began with",
                                 .value = training.folder().string() + " has fingerprint " + training.fingerprint(),
                                 .why = "the checkpoint continues in the middle of an epoch of other slices",
                                 .remedy = "restore the data, or start afresh with --new-run"});
  }
  parts_.stage.load_state({std::move(loaded->content.archives["networks"]),
                           std::move(loaded->content.archives["optimisers"]), std::move(saved.stage_facts)});
  progress_ = saved.progress;
  save_.is_saved = loaded->is_last;
  // A kill between a checkpoint and its mark, or a mark from elsewhere: the state says which step was best.
  const std::int64_t step = progress_.step;
  if (progress_.best_step == step && parts_.store.best_step() != step) parts_.store.mark_best(step);
  if (const auto provenance = nlohmann::json::parse(loaded->provenance_json, nullptr, false); provenance.is_object()) {
    num_restarts_ = provenance.value("restarts", std::int64_t{0}) + 1;
  }
  if (!is_at_end() || !save_.is_saved) report_resume(saved.environment);
  return true;
}

void TrainingLoop::report_resume(const ExecutionEnvironment& environment_before) const {
  logging::Console& console = parts_.context.console;
  console.info(fmt::format("{}: resumes after step {} of {}", plan_.title, progress_.step, plan_.num_steps));
  const std::string changes = environment_changes(environment_before, environment_);
  if (changes.empty()) return;
  console.warning(
      fmt::format("{}: the execution environment has changed: {}; the result will equal an uninterrupted run's up to "
                  "rounding, not in "
                  "every bit",
                  plan_.title, changes));
}

void TrainingLoop::record_save_outcome(const std::optional<checkpoint::SaveOutcome>& outcome) {
  if (!outcome || !outcome->is_saved) return;
  if (outcome->request.step == progress_.step) save_.is_saved = true;
  const checkpoint::SaveCost& cost = outcome->cost;
  timing_.save_done(cost);
  const std::vector<logging::Scalar> scalars{{"checkpoint_pause_seconds", cost.pause_seconds},
                                             {"checkpoint_write_seconds", cost.write_seconds},
                                             {"checkpoint_verify_seconds", cost.verify_seconds},
                                             {"checkpoint_retention_seconds", cost.retention_seconds},
                                             {"checkpoint_bytes", static_cast<double>(cost.num_bytes)}};
  parts_.log.write(cost.step, scalars, "checkpoint");
}

// A save that is due while another is under way is put off to the first step at which that one is done.
bool TrainingLoop::should_save(bool is_due) {
  record_save_outcome(parts_.store.poll());
  save_.is_due = save_.is_due || is_due;
  if (!save_.is_due || !parts_.store.is_saving()) return save_.is_due;
  if (!std::exchange(save_.has_reported_delay, true)) {
    parts_.context.console.info(fmt::format(
        "{}: the checkpoint due at step {} is put off: the one before is still being written (reported once)",
        plan_.title, progress_.step));
  }
  return false;
}

// A new best waits for the save under way: its state cannot be had later.
void TrainingLoop::save_in_background() {
  const logging::ActivityScope time(timing_.ledger(), logging::Activity::checkpoint);
  const logging::Span span(parts_.context.trace, "checkpoint", progress_.step - 1);
  record_save_outcome(parts_.store.finish());
  timing_.save_begins(progress_.step);
  checkpoint_schedule_.note_saved(progress_.step);
  const checkpoint::SaveRequest request{.step = progress_.step, .is_best = save_.is_best_pending};
  parts_.store.start_save(request, content(), provenance());
  // Also where it will have failed: the next one is of another step, and comes at the next interval.
  save_.is_best_pending = false;
  save_.is_due = false;
}

// Urgency that comes while this waits for a writer is followed by the ranks that it comes to.
void TrainingLoop::save_before_leaving(bool is_urgent) {
  const logging::ActivityScope time(timing_.ledger(), logging::Activity::checkpoint);
  const logging::Span span(parts_.context.trace, "checkpoint", progress_.step - 1);
  if (is_urgent) {
    parts_.context.console.info(plan_.title +
                                ": a second signal, so the checkpoint is not read back and no old one removed");
    parts_.store.skip_verification();
  }
  record_save_outcome(parts_.store.finish(parts_.is_urgent));
  if (save_.is_saved) return;
  timing_.save_begins(progress_.step);
  const bool is_last = is_finished();
  parts_.store.start_save(
      {.step = progress_.step, .is_last = is_last, .is_best = save_.is_best_pending, .is_urgent = is_urgent}, content(),
      provenance());
  record_save_outcome(parts_.store.finish(parts_.is_urgent));
  save_.is_best_pending = false;
  if (save_.is_saved) return;
  throw base::ErrorOnAllRanks(
      base::ExitCode::storage,
      {.what = fmt::format("{} was asked to stop and could not save step {}", plan_.title, progress_.step),
       .value = "see the warning above",
       .why = "work since the checkpoint before is lost",
       .remedy = "free space in the run folder and start the same command again"});
}

}  // namespace leda::training
