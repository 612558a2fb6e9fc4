// A thread that watches this rank's journal and ends the job where it stands still: with the names of the ranks that
// the others wait for. docs/methods/faults.md
//
// A rank is silent while its journal has no event. After a quarter of the timeout its watchdog writes a heartbeat
// into the folder that all ranks share (who waits in what, who is at work), and keeps it current; at the timeout it
// writes the rank's last events, reads the other ranks' heartbeats and judges. A rank that is at work and notes its
// progress is waited for. Time in which the watchdog itself did not run (a suspended job, a sleeping laptop) does not
// count. The journal outlives it. One thread of its own, which makes no MPI calls.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "distributed/core/collective_journal.hpp"
#include "distributed/watch/hang_diagnosis.hpp"

namespace leda::distributed {

struct WatchdogOptions {
  int rank = 0;
  int num_ranks = 1;
  // Where rank_N.json goes, common to all ranks; created when needed. Empty: heartbeats are not exchanged, and the
  // message says where this rank waits.
  std::filesystem::path folder;
  double timeout_seconds = 600.0;
};

// lint: clocks of one silence, which its thread adds up and judges together
class Watchdog {
 public:
  // `end_job` is called once, on the watchdog's thread, with the diagnosis; in a program it does not return.
  Watchdog(const CollectiveJournal& journal, WatchdogOptions options, std::function<void(const base::Error&)> end_job);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // HangDetector::report_before_exit. The rank counts as one that waits from now on, and its heartbeat keeps its
  // events.
  std::string report_before_exit();

 private:
  void watch();
  bool sleep(double seconds);
  void count_time(double seconds);
  void count_sleep(double seconds);
  void keep_heartbeat_current(bool is_quiet);
  bool write_heartbeat(bool with_events);
  std::string heartbeat_text(bool with_events) const;
  std::optional<base::Error> judge();
  std::vector<std::optional<Heartbeat>> read_heartbeats() const;
  std::filesystem::path heartbeat_path(int rank) const;
  bool somebody_has_reported() const;
  std::optional<base::Error> report_in_turn(const HangDiagnosis& diagnosis,
                                            const std::vector<std::optional<Heartbeat>>& heartbeats);
  base::Error blind_diagnosis(const std::string& reason) const;

  const CollectiveJournal& journal_;
  const WatchdogOptions options_;
  const std::function<void(const base::Error&)> end_job_;
  const double tick_seconds_;
  const double start_unix_seconds_;

  std::int64_t last_events_ = 0;
  std::int64_t last_finished_ = 0;
  std::atomic<double> silent_seconds_ = 0.0;
  double seconds_since_collective_ = 0.0;
  std::optional<double> processor_seconds_;   // of the thread that is blocked in a collective
  std::atomic<double> asleep_seconds_ = 0.0;  // for which it took none
  double seconds_since_heartbeat_ = 0.0;
  bool has_heartbeat_ = false;         // on disk
  bool is_heartbeat_outdated_ = true;  // something happened since it was written
  std::atomic<bool> has_reported_before_exit_ = false;

  std::mutex mutex_;
  std::condition_variable ended_;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace leda::distributed
