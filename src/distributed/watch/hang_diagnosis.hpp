// Who keeps the others waiting: a pure judgement of what every rank's watchdog last wrote down about its own rank.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace leda::distributed {

// A rank's own word about itself, as its watchdog wrote it.
struct Heartbeat {
  double silent_seconds = 0.0;  // since its last event, at the moment of judging
  bool is_waiting = false;      // blocked in a collective; otherwise at work
  // For how long its thread, blocked in the collective, has taken no processor time. Counted by its own watchdog.
  double asleep_seconds = 0.0;
  std::int64_t sequence = 0;  // collectives begun so far
  std::string doing;          // the collective it waits in, or its last event
};

struct HangDiagnosis {
  std::vector<int> culprits;         // empty: nobody is at fault, a rank is busy
  std::string what;                  // "rank 2 is silent"
  std::string value;                 // who waits where
  double busy_silent_seconds = 0.0;  // without culprits: how long the busy rank has been quiet
};

// `heartbeats`: one entry per rank, empty where a rank wrote nothing. A rank at work is busy until its own silence
// reaches the timeout (less `slack_seconds`); then it is named. Named first are ranks without a heartbeat: all others
// have one once they were quiet for a quarter of the timeout.
HangDiagnosis diagnose_hang(const std::vector<std::optional<Heartbeat>>& heartbeats, double timeout_seconds,
                            double slack_seconds);

// "rank 2", "ranks 0, 1 and 3".
std::string ranks_text(const std::vector<int>& ranks);

}  // namespace leda::distributed
