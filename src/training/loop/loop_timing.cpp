#include "training/loop/loop_timing.hpp"

#include <algorithm>
#include <utility>

namespace leda::training {

LoopTiming::LoopTiming(std::string training, logging::GoodputLedger* ledger, TimeLimit* limit)
    : training_(std::move(training)), ledger_(ledger), limit_(limit) {}

void LoopTiming::begin(std::int64_t step) {
  if (ledger_ != nullptr) ledger_->begin_training(training_, step);
}

void LoopTiming::step_done(double seconds) {
  if (limit_ != nullptr) limit_->note_progress(seconds);
}

void LoopTiming::interval_done(std::int64_t step, double data_wait_seconds, double exposed_communication_seconds) {
  if (ledger_ == nullptr) return;
  ledger_->split_step(data_wait_seconds, exposed_communication_seconds);
  ledger_->note_step(step);
}

void LoopTiming::save_begins(std::int64_t step) {
  if (ledger_ != nullptr) ledger_->note_snapshot(step);
}

void LoopTiming::save_done(const checkpoint::SaveCost& cost) {
  const double in_all = cost.write_seconds + cost.verify_seconds + cost.retention_seconds;
  if (limit_ != nullptr) limit_->note_save(std::max(in_all, cost.pause_seconds));
  if (ledger_ != nullptr) ledger_->note_checkpoint(cost.step, cost.pause_seconds, in_all);
}

}  // namespace leda::training
