#include "training/loop/training_loop.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
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

TrainingLoop::TrainingLoop(LoopPlan plan, Stage& stage, const StageContext& context,
                           const data::ShardCatalogue& training, const data::SliceLoader& loader,
                           checkpoint::CheckpointStore& store, logging::RunLog& log,
                           std::function<base::StopRequest()> stop_requested, std::function<bool()> is_hasty)
    : plan_(std::move(plan)),
      stage_(stage),
      context_(context),
      training_(training),
      loader_(loader),
      store_(store),
      log_(log),
      stop_requested_(std::move(stop_requested)),
      is_hasty_(std::move(is_hasty)),
      account_(plan_.phase, context.ledger, context.time_limit),
      cadence_(plan_.title, context.options, context.ledger),
      machine_(machine_facts(context.communicator, context.settings.device, context.options.distributed.reproducible)) {
}

base::StopRequest TrainingLoop::run() {
  const bool is_resumed = restore();
  if (step_ >= plan_.num_steps && is_saved_) return base::StopRequest::none;
  account_.begin(step_);
  cadence_.note_saved(step_);
  // Somewhere to roll back to from the first step on.
  if (!is_resumed && context_.options.training.on_non_finite == "roll_back") save_in_background();

  distributed::StopAgreement agreement(context_.communicator);
  logging::ProgressLine progress(context_.console, plan_.title, plan_.num_steps, step_,
                                 context_.options.logging.progress_seconds);
  base::StopRequest stop = catch_up_on_validation(agreement);
  while (step_ < plan_.num_steps && stop == base::StopRequest::none) {
    try {
      stop = train(agreement, progress);
    } catch (const NonFiniteGradientError& fault) {
      if (!may_roll_back(fault)) {
        take_outcome(store_.finish());
        throw;
      }
      stop = roll_back(fault, agreement);
    }
  }
  progress.finish();
  const base::StopRequest late = agreement.drain();
  if (!is_finished() && stop == base::StopRequest::none) stop = late;
  save_before_leaving(agreement.is_any_hasty(is_hasty_()));
  return is_finished() ? base::StopRequest::none : stop;
}

base::StopRequest TrainingLoop::train(distributed::StopAgreement& agreement, logging::ProgressLine& progress) {
  const data::EpochOrder order(training_.num_slices(), plan_.seed);
  data::BatchPrefetcher prefetcher(loader_, order, batches(), {step_, plan_.num_steps},
                                   static_cast<int>(context_.options.data.queue_depth));
  const auto due = [this](std::int64_t cadence) { return cadence > 0 && step_ % cadence == 0; };
  wait_at_interval_start_ = 0.0;
  const logging::TimeIn time(account_.ledger(), logging::Activity::step);

  base::StopRequest stop = base::StopRequest::none;
  while (step_ < plan_.num_steps && stop == base::StopRequest::none) {
    const base::Stopwatch step_time;
    const LossReport report = train_step(prefetcher);
    ++step_;
    account_.step_done(step_time.seconds());
    cadence_.note_step(step_time.seconds(), store_.is_saving());
    is_saved_ = false;
    add_report(report);
    const bool is_end = step_ == plan_.num_steps;
    const bool is_logging = due(context_.options.logging.every_num_steps) || is_end;
    const bool is_validating = due(context_.options.training.validate_every_num_steps) || is_end;
    const bool is_saving = !is_end && should_save(cadence_.is_due(step_));
    // No checkpoint is written over an update that somebody has yet to hear of.
    if (is_logging || is_validating || is_saving) settle_updates();
    if (is_logging) log_interval(prefetcher);
    if (is_validating) stop = validate(agreement);
    if (stop != base::StopRequest::none) break;
    // A new best is saved at once, whatever the cadence: it is kept as that step's checkpoint.
    if (is_saving || (is_best_pending_ && !is_end)) save_in_background();
    progress.update(step_, figures_);
    stop = agree_on_stop(agreement);
  }
  settle_updates();
  if (!interval_reports_.empty()) account_for_interval(wait_shares(prefetcher));
  return stop;
}

data::BatchPlan TrainingLoop::batches() const {
  const int size = context_.communicator.size();
  std::int64_t micro_batch = context_.options.training.max_micro_batch;
  if (micro_batch == 0) micro_batch = (plan_.global_batch + size - 1) / size;
  if (context_.options.distributed.reproducible) micro_batch = 1;
  return {plan_.global_batch, micro_batch, context_.communicator.rank(), size};
}

void TrainingLoop::settle_updates() {
  for (const SkippedUpdates& skipped : stage_.settle_updates()) {
    context_.console.warn(fmt::format("{}: {} update{} by step {} skipped, a gradient was not finite; the first: {}",
                                      plan_.title, skipped.count, skipped.count == 1 ? "" : "s", step_,
                                      skipped.text()));
  }
}

// A fault that comes back at the step where it was before is no accident.
bool TrainingLoop::may_roll_back(const NonFiniteGradientError& fault) {
  return context_.options.training.on_non_finite == "roll_back" && rolled_back_steps_.insert(fault.step()).second;
}

base::StopRequest TrainingLoop::roll_back(const NonFiniteGradientError& fault, distributed::StopAgreement& agreement) {
  context_.console.warn(
      fmt::format("{}: a gradient was not finite ({}); back to the last checkpoint", plan_.title, fault.text().value));
  interval_reports_.clear();
  interval_images_ = 0;
  is_best_pending_ = false;
  is_save_due_ = false;
  account_.interval_done(step_, 0.0, 0.0);
  if (!restore()) throw NonFiniteGradientError(fault);
  account_.begin(step_);
  cadence_.note_saved(step_);
  stage_.interval_figures();  // counts begin afresh
  interval_start_seconds_ = stopwatch_.seconds();
  interval_step_seconds_ = 0.0;
  interval_blocked_seconds_ = 0.0;
  return catch_up_on_validation(agreement);
}

// Waits for data and for other ranks are shares of the time of steps; validation and checkpoints are not steps.
class TrainingLoop::StepTime {
 public:
  explicit StepTime(TrainingLoop& loop) : loop_(loop) {}
  ~StepTime() {
    loop_.interval_step_seconds_ += base::steady_seconds() - begin_;
    loop_.interval_blocked_seconds_ += loop_.seconds_blocked() - blocked_;
  }
  StepTime(const StepTime&) = delete;
  StepTime& operator=(const StepTime&) = delete;

 private:
  TrainingLoop& loop_;
  double begin_ = base::steady_seconds();
  double blocked_ = loop_.seconds_blocked();
};

LossReport TrainingLoop::train_step(data::BatchPrefetcher& prefetcher) {
  const StepTime time(*this);
  const auto next = [&] {
    const logging::Span wait(context_.trace, "data wait", step_);
    return prefetcher.next();
  };
  context_.communicator.note(fmt::format("step {}: waits for data", step_ + 1));
  const data::StepBatch batch = next();
  context_.communicator.note(fmt::format("step {}: computes", step_ + 1));
  interval_images_ += batch.global_count;
  const logging::Span span(context_.trace, "step", step_);
  return stage_.train_step(batch);
}

base::StopRequest TrainingLoop::agree_on_stop(distributed::StopAgreement& agreement) {
  const StepTime time(*this);
  const logging::Span wait(context_.trace, "stop agreement", step_ - 1, logging::Span::Kind::exposed_wait);
  return agreement.exchange(stop_requested_());
}

double TrainingLoop::seconds_blocked() const {
  return context_.trace != nullptr ? context_.trace->seconds_blocked() : 0.0;
}

void TrainingLoop::add_report(const LossReport& report) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> values;
  report_names_.clear();
  for (const auto& [name, value] : report) {
    report_names_.push_back(name);
    values.push_back(value.detach().to(at::kDouble).reshape({-1}));
  }
  interval_reports_.push_back(at::stack(values));
}

// Sums over ranks and samples in an order that does not depend on the ranks, then means over the steps.
std::vector<logging::Scalar> TrainingLoop::interval_means() {
  const at::Tensor all = at::cat(interval_reports_, 1).cpu().contiguous();
  distributed::all_reduce(context_.communicator, all);
  const auto values = all.accessor<double, 2>();
  const std::size_t num_names = report_names_.size();
  const auto skipped_index = static_cast<std::size_t>(
      std::find(report_names_.begin(), report_names_.end(), kSkippedUpdates) - report_names_.begin());
  std::vector<double> sums(num_names, 0.0);
  std::int64_t num_made = 0;
  std::int64_t column = 0;
  for (const at::Tensor& step : interval_reports_) {
    std::vector<double> of_step(num_names, 0.0);
    for (const std::int64_t end = column + step.size(1); column < end; ++column) {
      for (std::size_t i = 0; i < num_names; ++i) of_step[i] += values[static_cast<std::int64_t>(i)][column];
    }
    // Losses of a skipped update are not finite and say nothing about the network.
    if (of_step[skipped_index] > 0.5) continue;
    for (std::size_t i = 0; i < num_names; ++i) sums[i] += of_step[i];
    ++num_made;
  }
  const auto num_skipped = static_cast<std::int64_t>(interval_reports_.size()) - num_made;
  std::vector<logging::Scalar> means;
  for (std::size_t i = 0; i < num_names; ++i) {
    if (i == skipped_index) means.push_back({report_names_[i], static_cast<double>(num_skipped)});
    if (i != skipped_index && num_made > 0) {
      means.push_back({report_names_[i], sums[i] / static_cast<double>(num_made)});
    }
  }
  return means;
}

void TrainingLoop::log_interval(const data::BatchPrefetcher& prefetcher) {
  std::vector<logging::Scalar> scalars = interval_means();
  // Absent where every update of the interval was skipped.
  const auto loss = std::find_if(scalars.begin(), scalars.end(), [](const auto& one) { return one.name == "loss"; });
  std::string loss_text = "no update made";
  if (loss != scalars.end()) {
    loss_text = fmt::format("loss {:.5g}", loss->value);
    if (!std::isfinite(loss->value)) stop_diverged("the loss", fmt::format("{}", loss->value));
  }
  for (logging::Scalar& figure : stage_.interval_figures()) scalars.push_back(std::move(figure));
  const double seconds = stopwatch_.seconds() - interval_start_seconds_;
  const double images_per_second = static_cast<double>(interval_images_) / seconds;
  scalars.push_back({"learning_rate", plan_.schedule.rate(step_ - 1)});
  scalars.push_back(
      {"epoch", static_cast<double>((step_ - 1) / data::steps_per_epoch(training_.num_slices(), plan_.global_batch))});
  scalars.push_back({"images_per_second", images_per_second});
  const WaitShares waits = wait_shares(prefetcher);
  const auto [data_wait, exposed] = waits;
  account_for_interval(waits);
  scalars.push_back({"data_wait_share", data_wait});
  scalars.push_back({"exposed_communication_share", exposed});
  log_.write(step_, scalars);
  figures_ = fmt::format("{}, {:.1f} images/s, waits: data {:.0f} %, ranks {:.0f} %{}", loss_text, images_per_second,
                         100.0 * data_wait, 100.0 * exposed, validation_figures_);
  if (context_.trace != nullptr) context_.trace->flush();
  cadence_.choose(store_.costs(), context_.communicator, context_.console);
  interval_reports_.clear();
  interval_images_ = 0;
  interval_start_seconds_ = stopwatch_.seconds();
  wait_at_interval_start_ = prefetcher.seconds_waited();
  interval_step_seconds_ = 0.0;
  interval_blocked_seconds_ = 0.0;
}

// Means over ranks: one rank's wait is another's work.
TrainingLoop::WaitShares TrainingLoop::wait_shares(const data::BatchPrefetcher& prefetcher) const {
  const at::Tensor shares = at::zeros({2}, at::kDouble);
  auto* share = shares.mutable_data_ptr<double>();
  share[0] = (prefetcher.seconds_waited() - wait_at_interval_start_) / interval_step_seconds_;
  share[1] = interval_blocked_seconds_ / interval_step_seconds_;
  distributed::all_reduce(context_.communicator, shares);
  const double num_ranks = context_.communicator.size();
  return {share[0] / num_ranks, share[1] / num_ranks};
}

void TrainingLoop::account_for_interval(const WaitShares& shares) {
  account_.interval_done(step_, shares.data * interval_step_seconds_,
                         shares.exposed_communication * interval_step_seconds_);
}

void TrainingLoop::stop_diverged(const std::string& figure, const std::string& value) {
  take_outcome(store_.finish());
  throw base::ErrorOnAllRanks(
      base::ExitCode::non_finite,
      {.what = fmt::format("{} diverged at step {}: {}", plan_.title, step_, figure),
       .value = value,
       .why = "going on would train on garbage",
       .remedy = "lower the learning rate or set training.max_gradient_norm; earlier checkpoints are kept"});
}

base::StopRequest TrainingLoop::validate(distributed::StopAgreement& agreement) {
  const logging::TimeIn time(account_.ledger(), logging::Activity::validation);
  const logging::Span span(context_.trace, "validation", step_ - 1);
  base::StopRequest stop = base::StopRequest::none;
  const auto should_stop = [&] {
    stop = agreement.exchange(stop_requested_());
    return stop != base::StopRequest::none;
  };
  const std::optional<ValidationReport> report = stage_.validate(step_, should_stop);
  is_validation_pending_ = !report;
  if (report) take_validation(*report);
  return stop;
}

base::StopRequest TrainingLoop::catch_up_on_validation(distributed::StopAgreement& agreement) {
  if (!is_validation_pending_) return base::StopRequest::none;
  const base::StopRequest stop = validate(agreement);
  if (is_best_pending_ && step_ < plan_.num_steps) save_in_background();
  return stop;
}

void TrainingLoop::take_validation(const ValidationReport& report) {
  std::vector<logging::Scalar> scalars;
  for (const logging::Scalar& figure : report.figures) scalars.push_back({"validation_" + figure.name, figure.value});
  log_.write(step_, scalars, "validation");
  validation_figures_ = fmt::format(", validation {} {:.2f}", report.figures.front().name, report.criterion);
  const double factor = context_.options.training.divergence_factor;
  const bool has_best = best_step_ >= 0;
  const double yardstick = has_best ? best_criterion_ : report.untrained_criterion;
  const bool is_worse = factor > 0.0 && yardstick > 0.0 && report.criterion > factor * yardstick;
  if (!std::isfinite(report.criterion) || is_worse) {
    stop_diverged(
        "validation " + report.figures.front().name,
        fmt::format("{:.4g}, {} {:.4g}", report.criterion,
                    has_best ? fmt::format("the best, at step {}, was", best_step_) : "without a network it is",
                    yardstick));
  }
  if (!has_best || report.criterion < best_criterion_) {
    best_criterion_ = report.criterion;
    best_step_ = step_;
    is_best_pending_ = true;
  }
}

checkpoint::CheckpointContent TrainingLoop::content() const {
  StageState stage = stage_.state();
  require_equal_replicas(stage.networks, step_, context_.communicator);
  nlohmann::json facts = nlohmann::json::object();
  for (const auto& [name, text] : stage.facts) facts[name] = text;
  nlohmann::json machine = nlohmann::json::object();
  for (const auto& [name, value] : machine_) machine[name] = value;
  nlohmann::json state = {
      {"step", step_},
      {"num_steps", plan_.num_steps},
      {"epoch", step_ / data::steps_per_epoch(training_.num_slices(), plan_.global_batch)},
      {"position_in_epoch", step_ % data::steps_per_epoch(training_.num_slices(), plan_.global_batch)},
      {"global_batch", plan_.global_batch},
      {"seed", plan_.seed},
      {"learning_rate", plan_.schedule.rate(step_)},
      {"data_fingerprint", training_.fingerprint()},
      {"best", {{"step", best_step_}, {"criterion", best_criterion_}}},
      {"machine", machine},
      {"stage", facts}};
  if (is_validation_pending_) state["validation_pending"] = true;
  checkpoint::CheckpointContent content;
  content.archives["networks"] = std::move(stage.networks);
  content.archives["optimisers"] = std::move(stage.optimisers);
  content.state_json = state.dump(2) + "\n";
  return content;
}

std::string TrainingLoop::provenance() const {
  return nlohmann::json{{"host", distributed::host_name()},
                        {"saved", base::utc_now()},
                        {"leda_version", LEDA_VERSION},
                        {"libtorch", TORCH_VERSION},
                        {"num_ranks", context_.communicator.size()},
                        {"seconds_since_start", stopwatch_.seconds()},
                        {"restarts", num_restarts_}}
      .dump(2);
}

bool TrainingLoop::restore() {
  std::optional<checkpoint::LoadedCheckpoint> loaded = store_.load_newest();
  if (!loaded) return false;
  const nlohmann::json state = nlohmann::json::parse(loaded->content.state_json);
  if (state.at("data_fingerprint") != training_.fingerprint()) {
    throw base::ErrorOnAllRanks(base::ExitCode::data,
                                {.what = "the training data is not the data this run began with",
                                 .value = training_.folder().string() + " has fingerprint " + training_.fingerprint(),
                                 .why = "the checkpoint continues in the middle of an epoch of other slices",
                                 .remedy = "restore the data, or start afresh with --new-run"});
  }
  StageState stage{
      std::move(loaded->content.archives["networks"]), std::move(loaded->content.archives["optimisers"]), {}};
  for (const auto& [name, text] : state.at("stage").items()) stage.facts.emplace_back(name, text.get<std::string>());
  stage_.load_state(stage);
  step_ = state.at("step");
  best_step_ = state.at("best").at("step");
  best_criterion_ = state.at("best").at("criterion");
  is_saved_ = loaded->is_last;
  is_validation_pending_ = state.value("validation_pending", false);
  // A kill between a checkpoint and its mark, or a mark from elsewhere: the state says which step was best.
  if (best_step_ == step_ && store_.best_step() != step_) store_.mark_best(step_);
  if (const auto provenance = nlohmann::json::parse(loaded->provenance_json, nullptr, false); provenance.is_object()) {
    num_restarts_ = provenance.value("restarts", std::int64_t{0}) + 1;
  }
  if (step_ >= plan_.num_steps && is_saved_) return true;
  context_.console.say(fmt::format("{}: resumes after step {} of {}", plan_.title, step_, plan_.num_steps));
  MachineFacts before;
  for (const auto& [name, value] : state.at("machine").items()) {
    before.emplace_back(name, value.is_string() ? value.get<std::string>() : value.dump());
  }
  if (const std::string changes = machine_changes(before, machine_); !changes.empty()) {
    context_.console.warn(fmt::format(
        "{}: goes on otherwise than it was saved: {}; the result will equal an uninterrupted run's up to rounding, not "
        "in every bit",
        plan_.title, changes));
  }
  return true;
}

void TrainingLoop::take_outcome(const std::optional<checkpoint::SaveOutcome>& outcome) {
  if (!outcome || !outcome->is_saved) return;
  if (outcome->request.step == step_) is_saved_ = true;
  const checkpoint::SaveCost& cost = outcome->cost;
  account_.save_done(cost);
  const std::vector<logging::Scalar> scalars{{"checkpoint_pause_seconds", cost.pause_seconds},
                                             {"checkpoint_write_seconds", cost.write_seconds},
                                             {"checkpoint_verify_seconds", cost.verify_seconds},
                                             {"checkpoint_retention_seconds", cost.retention_seconds},
                                             {"checkpoint_bytes", static_cast<double>(cost.num_bytes)}};
  log_.write(cost.step, scalars, "checkpoint");
}

// A save that is due while another is under way is put off to the first step at which that one is done.
bool TrainingLoop::should_save(bool is_due) {
  take_outcome(store_.poll());
  is_save_due_ = is_save_due_ || is_due;
  if (!is_save_due_ || !store_.is_saving()) return is_save_due_;
  if (!std::exchange(has_said_put_off_, true)) {
    context_.console.say(
        fmt::format("{}: the checkpoint due at step {} is put off: the one before is still being written (said once)",
                    plan_.title, step_));
  }
  return false;
}

// A new best waits for the save under way: its state cannot be had later.
void TrainingLoop::save_in_background() {
  const logging::TimeIn time(account_.ledger(), logging::Activity::checkpoint);
  const logging::Span span(context_.trace, "checkpoint", step_ - 1);
  take_outcome(store_.finish());
  account_.save_begins(step_);
  cadence_.note_saved(step_);
  const checkpoint::SaveRequest request{.step = step_, .is_best = is_best_pending_};
  store_.start_save(request, content(), provenance());
  // Also where it will have failed: the next one is of another step, and comes at the next interval.
  is_best_pending_ = false;
  is_save_due_ = false;
}

// Haste that comes while this waits for a writer is followed by the ranks that it comes to.
void TrainingLoop::save_before_leaving(bool is_hasty) {
  const logging::TimeIn time(account_.ledger(), logging::Activity::checkpoint);
  const logging::Span span(context_.trace, "checkpoint", step_ - 1);
  if (is_hasty) {
    context_.console.say(plan_.title + ": a second signal, so the checkpoint is not read back and no old one removed");
    store_.hurry();
  }
  take_outcome(store_.finish(is_hasty_));
  if (is_saved_) return;
  account_.save_begins(step_);
  const bool is_last = is_finished();
  store_.start_save({.step = step_, .is_last = is_last, .is_best = is_best_pending_, .is_hasty = is_hasty}, content(),
                    provenance());
  take_outcome(store_.finish(is_hasty_));
  is_best_pending_ = false;
  if (is_saved_) return;
  throw base::ErrorOnAllRanks(
      base::ExitCode::storage,
      {.what = fmt::format("{} was asked to stop and could not save step {}", plan_.title, step_),
       .value = "see the warning above",
       .why = "work since the checkpoint before is lost",
       .remedy = "free space in the run folder and start the same command again"});
}

}  // namespace leda::training
