// The journal of this rank and the watchdog over it, for the length of a program: made once MPI runs, and kept until it
// has ended, so that ranks which wait for each other in MPI_Finalize are still watched.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "distributed/core/collective_journal.hpp"
#include "distributed/watch/watchdog.hpp"

namespace leda::distributed {

class HangDetector {
 public:
  // `end_job`: what the watchdog calls with its diagnosis, from its own thread; it does not return.
  HangDetector(int rank, int num_ranks, std::function<void(const base::Error&)> end_job);
  HangDetector(const HangDetector&) = delete;
  HangDetector& operator=(const HangDetector&) = delete;

  CollectiveJournal& journal() { return journal_; }
  // From now on the job ends where it stands still for this long, and the ranks' last events go to `folder`, which all
  // of them share. Called again (another folder), it starts afresh. A rank that is alone waits for nobody: no watchdog.
  void watch(const std::filesystem::path& folder, double timeout_seconds);
  // For a rank that is about to end because of `fault`, which keeps it waiting for other ranks outside a communicator's
  // call (on a device): its last events go to the folder, and what the ranks' heartbeats say about who is missing comes
  // back, or nothing. Takes a second. Any thread.
  std::string report_before_exit(const std::string& fault);

 private:
  int rank_;
  int num_ranks_;
  std::function<void(const base::Error&)> end_job_;
  CollectiveJournal journal_;
  std::optional<Watchdog> watchdog_;
};

}  // namespace leda::distributed
