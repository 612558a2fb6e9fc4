// A run's account of the time it was given, over all its starts: RUN_FOLDER/ledger.jsonl (docs/formats/ledger.md).
// Every line says what the attempt's time has gone into so far, so that one that is killed is accounted for up to its
// last line. Written by rank 0; on the other ranks a ledger that is off takes the same calls.
//
// Lives in the job from the moment the run folder is locked; one thread. A ledger that cannot be written is one
// warning, never the end of a run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "logging/activity.hpp"
#include "logging/append_file.hpp"
#include "logging/console.hpp"
#include "logging/goodput_history.hpp"

namespace leda::logging {

// What is known of an attempt when it starts. Times are Unix seconds.
struct AttemptFacts {
  int num_ranks = 1;
  double process_start = 0.0;
  std::string host;
  std::string scheduler_job;        // the batch system's number of it; empty = none
  std::optional<double> allocated;  // since when the batch system has had nodes reserved for it
  std::optional<double> submitted;
};

// lint: the account of one attempt; each line of the file is written from most of it
class GoodputLedger {
 public:
  // Off: adds up nothing and writes nothing.
  GoodputLedger() = default;
  // Reads what earlier attempts left, then says that this one has started.
  GoodputLedger(const std::filesystem::path& path, const AttemptFacts& facts, Console& console);
  // Without finish(): the attempt ends with an error.
  ~GoodputLedger();
  GoodputLedger(const GoodputLedger&) = delete;
  GoodputLedger& operator=(const GoodputLedger&) = delete;

  bool is_on() const { return is_on_; }
  // Of the attempts before this one.
  const std::vector<AttemptAccount>& history() const { return history_; }
  // Of this attempt, from the beginning of its time to now.
  double elapsed_seconds() const;

  // From now on time goes into this; returns what it went into before.
  Activity enter(Activity activity);
  // Of the time of steps so far, this much were waits.
  void split_step(double data_wait_seconds, double exposed_communication_seconds);

  // A training goes on after this step, 0 = from its start: what earlier attempts did of it beyond is lost.
  void begin_training(const std::string& training, std::int64_t step);
  // The training's updates made so far.
  void note_step(std::int64_t step);
  // A copy of the state after this step is taken, to become a checkpoint: what was done up to here may be kept by it.
  void note_snapshot(std::int64_t step);
  // The checkpoint of which a copy was taken last is complete: training stood still for `pause`, and `write` passed
  // until it was complete.
  void note_checkpoint(std::int64_t step, double pause_seconds, double write_seconds);
  // A heartbeat, at most one in this many seconds.
  void note_heartbeat(double every_num_seconds);
  void finish(int exit_code);

 private:
  void close_activity();
  // {"event": .., "time": .., "attempt": .., <fields>, "elapsed": .., "seconds": {..}}; `fields` is a JSON object.
  void write(const char* event, const std::string& fields);
  void append(const std::string& line);

  bool is_on_ = false;
  Console* console_ = nullptr;
  std::optional<AppendFile> file_;
  bool has_warned_ = false;
  bool is_finished_ = false;
  std::vector<AttemptAccount> history_;

  int attempt_ = 1;
  double elapsed_at_construction_ = 0.0;
  base::Stopwatch stopwatch_;
  Activity activity_ = Activity::start_up;
  double activity_begin_ = 0.0;  // of elapsed_seconds()
  ActivitySeconds seconds_{};
  std::string training_;
  std::int64_t step_ = 0;
  double snapshot_trained_ = 0.0;  // seconds of steps when a copy was taken last
  double last_line_ = 0.0;         // of elapsed_seconds()
};

// Time goes into this activity from here to the end of the scope, then into what it went into before.
class ActivityScope {
 public:
  // Null = nobody keeps account.
  ActivityScope(GoodputLedger* ledger, Activity activity) : ledger_(ledger) {
    if (ledger_ != nullptr) before_ = ledger_->enter(activity);
  }
  ~ActivityScope() {
    if (ledger_ != nullptr) ledger_->enter(before_);
  }
  ActivityScope(const ActivityScope&) = delete;
  ActivityScope& operator=(const ActivityScope&) = delete;

 private:
  GoodputLedger* ledger_;
  Activity before_ = Activity::other;
};

}  // namespace leda::logging
