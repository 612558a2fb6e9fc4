// What a run's ledger says about the attempts that wrote it (docs/formats/ledger.md): the time of each, what it went
// into, and what was lost. Plain values; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "logging/activity.hpp"

namespace leda::logging {

// One start of the run.
struct AttemptAccount {
  int number = 0;
  int num_ranks = 1;
  std::string scheduler_job;
  double begin = 0.0;  // Unix seconds: of the time that was allocated to it
  double end = 0.0;    // of its last line
  // Between the attempt before and this one.
  double queue_seconds = 0.0;  // waited for nodes
  double away_seconds = 0.0;   // nobody is known to have asked for any
  // These and lost_seconds add up to end - begin.
  ActivitySeconds seconds{};
  double lost_seconds = 0.0;     // of steps that had to be done again
  double at_risk_seconds = 0.0;  // of steps that are in no complete checkpoint; part of `seconds`
  bool has_ended = false;        // said so; otherwise it runs still, or was killed
  std::optional<int> exit_code;  // none: killed, running, or ended by an error
  bool has_trained = false;
  // Of its complete checkpoints.
  std::int64_t num_checkpoints = 0;
  double pause_seconds = 0.0;
  double write_seconds = 0.0;

  double allocated_seconds() const { return end - begin; }
};

// Lines that are none of the format's are passed over: a torn last one, say. Empty where there is no file.
// Error(data) where the ledger is of a later version.
std::vector<AttemptAccount> read_ledger(const std::filesystem::path& path);

// How many of these attempts died of something: they had trained, and did not end with a complete checkpoint.
std::int64_t num_failures(const std::vector<AttemptAccount>& attempts);

// The share of allocated time, in rank-seconds, that went into computing steps that were kept. 0 where none is.
double goodput(const std::vector<AttemptAccount>& attempts);

// A table: a line for each attempt, in seconds, their sum in rank-seconds, and its shares.
std::string goodput_table(const std::vector<AttemptAccount>& attempts);

}  // namespace leda::logging
