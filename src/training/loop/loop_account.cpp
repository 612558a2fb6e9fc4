#include "training/loop/loop_account.hpp"

#include <algorithm>
#include <utility>

namespace leda::training {

LoopAccount::LoopAccount(std::string phase, logging::GoodputLedger* ledger, TimeLimit* limit)
    : phase_(std::move(phase)), ledger_(ledger), limit_(limit) {}

void LoopAccount::begin(std::int64_t step) {
  if (ledger_ != nullptr) ledger_->begin_phase(phase_, step);
}

void LoopAccount::step_done(double seconds) {
  if (limit_ != nullptr) limit_->note_progress(seconds);
}

void LoopAccount::interval_done(std::int64_t step, double data_wait_seconds, double exposed_communication_seconds) {
  if (ledger_ == nullptr) return;
  ledger_->split_step(data_wait_seconds, exposed_communication_seconds);
  ledger_->note_step(step);
}

void LoopAccount::save_begins(std::int64_t step) {
  if (ledger_ != nullptr) ledger_->note_snapshot(step);
}

void LoopAccount::save_done(const checkpoint::SaveCost& cost) {
  const double in_all = cost.write_seconds + cost.verify_seconds + cost.retention_seconds;
  if (limit_ != nullptr) limit_->note_save(std::max(in_all, cost.pause_seconds));
  if (ledger_ != nullptr) ledger_->note_checkpoint(cost.step, cost.pause_seconds, in_all);
}

}  // namespace leda::training
