#include "distributed/watch/hang_detector.hpp"

#include <utility>

namespace leda::distributed {

HangDetector::HangDetector(int rank, int num_ranks, std::function<void(const base::Error&)> end_job)
    : rank_(rank), num_ranks_(num_ranks), end_job_(std::move(end_job)) {}

void HangDetector::watch(const std::filesystem::path& folder, double timeout_seconds) {
  watchdog_.reset();
  if (num_ranks_ == 1) return;
  watchdog_.emplace(
      journal_,
      WatchdogOptions{.rank = rank_, .num_ranks = num_ranks_, .folder = folder, .timeout_seconds = timeout_seconds},
      end_job_);
}

std::string HangDetector::report_before_exit(const std::string& fault) {
  journal_.note(fault);
  return watchdog_ ? watchdog_->report_before_exit() : std::string();
}

}  // namespace leda::distributed
