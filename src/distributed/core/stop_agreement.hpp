// Stop requests reach ranks at different moments, or one rank only; yet all must leave after the same step. A
// reduction of its own is started in each step and waited for in the next, so that no step waits for a slow rank's
// answer; it is never polled, because a poll may answer differently on different ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "base/stop_signal.hpp"
#include "distributed/core/communicator.hpp"

namespace leda::distributed {

class StopAgreement {
 public:
  // Collective. The communicator must outlive it.
  explicit StopAgreement(Communicator& communicator);

  // Hands in this rank's request and returns the strongest of all ranks' requests of the previous call: the same on
  // every rank. Called once a step by every rank.
  base::StopRequest exchange(base::StopRequest mine);
  // Completes what is under way, and returns what it says. Called by every rank at the end of the loop.
  base::StopRequest drain();
  // Whether any rank's stop is urgent; the same on every rank. Waits for all of them: called once a stop is agreed on.
  bool is_any_urgent(bool mine);

 private:
  std::unique_ptr<Communicator> channel_;
  at::Tensor votes_;  // int64 [2]: ranks that ask for run_again, for do_not_restart
  std::unique_ptr<PendingCollective> pending_;
};

}  // namespace leda::distributed
