// What a training loop tells of its time: to the ledger of the run, and to the limit that has it leave early enough.
// Either may be missing. Lives in the loop; one thread.
#pragma once

#include <cstdint>
#include <string>

#include "checkpoint/save_job.hpp"
#include "logging/goodput_ledger.hpp"
#include "training/options/time_limit.hpp"

namespace leda::training {

class LoopTiming {
 public:
  LoopTiming(std::string training, logging::GoodputLedger* ledger, TimeLimit* limit);

  logging::GoodputLedger* ledger() const { return ledger_; }

  // Training goes on after this step; what was done of it beyond is done again.
  void begin(std::int64_t step);
  // One more update, from the wait for its batch to its loss.
  void step_done(double seconds);
  // `step` updates made; of the time of those since the last call these were waits.
  void interval_done(std::int64_t step, double data_wait_seconds, double exposed_communication_seconds);
  // A copy of the state after this step is taken, to be written.
  void save_begins(std::int64_t step);
  // The checkpoint of which a copy was taken last is complete.
  void save_done(const checkpoint::SaveCost& cost);

 private:
  std::string training_;
  logging::GoodputLedger* ledger_;
  TimeLimit* limit_;
};

}  // namespace leda::training
