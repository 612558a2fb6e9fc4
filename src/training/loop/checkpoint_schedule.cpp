#include "training/loop/checkpoint_schedule.hpp"

#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace leda::training {
namespace {

// A change of the interval by more than this factor is announced.
constexpr double kAnnounceRatio = 1.5;
// Of several saves the middle one counts: one that met a busy disk says little about the next.
double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double median_of(const std::vector<checkpoint::SaveCost>& costs, double (*seconds)(const checkpoint::SaveCost&)) {
  std::vector<double> values;
  for (const checkpoint::SaveCost& cost : costs) values.push_back(seconds(cost));
  return median_of(std::move(values));
}

double background_seconds(const checkpoint::SaveCost& cost) {
  return cost.write_seconds + cost.verify_seconds + cost.retention_seconds;
}

// The newest attempt before this one that has saved; null where none has.
const logging::AttemptAccount* newest_with_saves(const logging::GoodputLedger* ledger) {
  if (ledger == nullptr) return nullptr;
  const auto& history = ledger->history();
  const auto found = std::find_if(history.rbegin(), history.rend(),
                                  [](const logging::AttemptAccount& attempt) { return attempt.num_checkpoints > 0; });
  return found == history.rend() ? nullptr : &*found;
}

}  // namespace

CheckpointSchedule::CheckpointSchedule(std::string title, const LoopOptions& options,
                                       const logging::GoodputLedger* ledger)
    : title_(std::move(title)),
      is_automatic_(options.checkpoint_schedule.interval == CheckpointInterval::automatic),
      num_steps_(is_automatic_ ? options.logging.every_num_steps : options.checkpoint_schedule.every_num_steps),
      ledger_(ledger) {}

bool CheckpointSchedule::is_due(std::int64_t step) const {
  return is_automatic_ ? step - saved_step_ >= num_steps_ : step % num_steps_ == 0;
}

void CheckpointSchedule::note_step(double seconds, bool beside_writer) {
  if (!std::exchange(has_begun_, true)) return;
  StepTimes& times = beside_writer ? beside_writer_ : quiet_;
  ++times.num;
  times.seconds += seconds;
  if (beside_writer && !was_beside_writer_) ++num_writes_;
  was_beside_writer_ = beside_writer;
}

bool CheckpointSchedule::has_figures(const std::vector<checkpoint::SaveCost>& costs) const {
  return !costs.empty() || newest_with_saves(ledger_) != nullptr;
}

SaveFigures CheckpointSchedule::figures(const std::vector<checkpoint::SaveCost>& costs) const {
  if (costs.empty()) {
    const logging::AttemptAccount* attempt = newest_with_saves(ledger_);
    const auto num = static_cast<double>(attempt->num_checkpoints);
    return {.pause_seconds = attempt->pause_seconds / num, .background_seconds = attempt->write_seconds / num};
  }
  SaveFigures figures{.pause_seconds = median_of(costs, [](const auto& cost) { return cost.pause_seconds; }),
                      .background_seconds = median_of(costs, background_seconds)};
  if (num_writes_ > 0 && quiet_.num > 0) {
    const double undisturbed = static_cast<double>(beside_writer_.num) * quiet_.mean();
    figures.slow_down_seconds = std::max(0.0, beside_writer_.seconds - undisturbed) / static_cast<double>(num_writes_);
  }
  return figures;
}

std::int64_t CheckpointSchedule::best_num_steps(const std::vector<checkpoint::SaveCost>& costs) const {
  const double step_seconds = quiet_.num > 0 ? quiet_.mean() : beside_writer_.mean();
  if (!has_figures(costs) || step_seconds <= 0.0) return num_steps_;
  const double elapsed = ledger_ != nullptr ? ledger_->elapsed_seconds() : 0.0;
  const std::vector<logging::AttemptAccount> none;
  const double between_failures = seconds_between_failures(ledger_ != nullptr ? ledger_->history() : none, elapsed);
  return std::max<std::int64_t>(1,
                                std::llround(best_interval_seconds(figures(costs), between_failures) / step_seconds));
}

void CheckpointSchedule::choose(const std::vector<checkpoint::SaveCost>& costs, distributed::Communicator& communicator,
                                logging::Console& console) {
  if (!is_automatic_) return;
  const at::Tensor chosen = at::zeros({1}, at::kLong);
  if (communicator.rank() == 0) *chosen.mutable_data_ptr<std::int64_t>() = best_num_steps(costs);
  communicator.broadcast(chosen, 0);
  num_steps_ = *chosen.const_data_ptr<std::int64_t>();
  if (communicator.rank() == 0 && has_figures(costs)) announce(costs, console);
}

void CheckpointSchedule::announce(const std::vector<checkpoint::SaveCost>& costs, logging::Console& console) {
  const double change = announced_num_steps_ == 0
                            ? kAnnounceRatio * kAnnounceRatio
                            : static_cast<double>(num_steps_) / static_cast<double>(announced_num_steps_);
  if (change < kAnnounceRatio && change > 1.0 / kAnnounceRatio) return;
  announced_num_steps_ = num_steps_;
  const SaveFigures known = figures(costs);
  console.info(
      fmt::format("{}: a checkpoint every {} steps; one costs {:.3g} s of training ({:.3g} s of it a pause) and "
                  "is complete after {:.3g} s",
                  title_, num_steps_, known.pause_seconds + known.slow_down_seconds, known.pause_seconds,
                  known.background_seconds));
}

}  // namespace leda::training
