// A save under way on a thread of its own. The thread that made it may look whether it is done, or wait for it, with
// heartbeats for the watchdog while the disk makes progress. Destruction waits; job, content and console outlive it.
#pragma once

#include <functional>
#include <future>
#include <string>

#include "checkpoint/save_job.hpp"

namespace leda::checkpoint {

class BackgroundSave {
 public:
  // Starts at once, unless this rank has nothing to write: then it is done.
  BackgroundSave(SaveJob job, const CheckpointContent& content, logging::Console& console);
  ~BackgroundSave();
  BackgroundSave(const BackgroundSave&) = delete;
  BackgroundSave& operator=(const BackgroundSave&) = delete;

  const SaveJob& job() const { return job_; }
  bool is_done() const;
  // Meaningful once done.
  bool has_failed() const { return has_failed_; }
  // Waits; `note` is called when the writer has come further since the last call, at most every quarter of a second.
  // `is_urgent`, asked that often, may be empty: where it says so, the rest goes as after skip_verification().
  void wait(const std::function<void(std::string)>& note, const std::function<bool()>& is_urgent = {});
  // Waits; the cost, or what run_save() threw.
  SaveCost result() { return result_.get(); }

  // From now on without read-back and retention.
  void skip_verification() { progress_.is_urgent = true; }
  // Another rank has failed: gives up at the next piece.
  void abort() { progress_.is_aborted = true; }

 private:
  SaveJob job_;
  SaveProgress progress_;
  std::atomic<bool> has_failed_{false};
  std::future<SaveCost> result_;  // last: its thread uses the others
};

}  // namespace leda::checkpoint
