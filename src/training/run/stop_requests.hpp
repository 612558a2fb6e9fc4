// What a job is asked to do while it works: by a signal, or by the end of its time. The same on every rank once agreed
// on. Borrows everything; lives as long as the job.
#pragma once

#include <functional>

#include "base/stop_signal.hpp"
#include "distributed/core/communicator.hpp"
#include "distributed/core/stop_agreement.hpp"
#include "logging/goodput_ledger.hpp"
#include "training/options/time_limit.hpp"

namespace leda::training {

class StopRequests {
 public:
  StopRequests(distributed::Communicator& communicator, logging::GoodputLedger& ledger, const TimeLimit& time_limit)
      : communicator_(communicator), ledger_(ledger), time_limit_(time_limit) {}

  // Of this rank, now.
  base::StopRequest requested() const;
  // The same on every rank. Collective.
  base::StopRequest agreed() const;

  // The value of work(should_stop), which asks on every rank after each of its rounds; `stop` is what they agreed on.
  template <typename Work>
  auto run_stoppable(base::StopRequest& stop, const Work& work) const;

 private:
  distributed::Communicator& communicator_;
  logging::GoodputLedger& ledger_;
  const TimeLimit& time_limit_;
};

template <typename Work>
auto StopRequests::run_stoppable(base::StopRequest& stop, const Work& work) const {
  constexpr double kHeartbeatSeconds = 10.0;  // between heartbeats in the ledger
  distributed::StopAgreement agreement(communicator_);
  auto value = work([&] {
    ledger_.note_heartbeat(kHeartbeatSeconds);
    stop = agreement.exchange(requested());
    return stop != base::StopRequest::none;
  });
  agreement.drain();  // what is under way may not outlive the agreement
  return value;
}

}  // namespace leda::training
