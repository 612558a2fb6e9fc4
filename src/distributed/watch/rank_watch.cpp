#include "distributed/watch/rank_watch.hpp"

#include <utility>

namespace leda::distributed {

RankWatch::RankWatch(int rank, int num_ranks, std::function<void(const base::Error&)> end_job)
    : rank_(rank), num_ranks_(num_ranks), end_job_(std::move(end_job)) {}

void RankWatch::watch(const std::filesystem::path& folder, double timeout_seconds) {
  watchdog_.reset();
  if (num_ranks_ == 1) return;
  watchdog_.emplace(
      journal_,
      WatchdogOptions{.rank = rank_, .num_ranks = num_ranks_, .folder = folder, .timeout_seconds = timeout_seconds},
      end_job_);
}

std::string RankWatch::last_word(const std::string& fault) {
  journal_.note(fault);
  return watchdog_ ? watchdog_->last_word() : std::string();
}

}  // namespace leda::distributed
