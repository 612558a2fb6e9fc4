// Whether all ranks' writers are done, asked at every step and answered one step later, so that no step waits: the
// same pattern as distributed::StopAgreement. One thread; the communicator outlives it.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>

#include "distributed/core/communicator.hpp"

namespace leda::checkpoint {

class SaveAgreement {
 public:
  struct Tally {
    bool all_done = false;
    bool any_failed = false;
  };

  // Collective.
  explicit SaveAgreement(distributed::Communicator& communicator);

  // Hands in this rank's vote and returns the tally of the previous call (nothing done before the first one). Once all
  // are done, that answer is the last, and nothing is handed in any more. Called by every rank alike.
  Tally exchange(bool is_done, bool has_failed);
  // Completes what is under way. Called by every rank alike.
  Tally drain();

  // For what is said when all are done.
  distributed::Communicator& channel() { return *channel_; }

 private:
  std::unique_ptr<distributed::Communicator> channel_;
  at::Tensor votes_;  // float64 [2]: ranks that are done, that have failed
  std::unique_ptr<distributed::PendingCollective> pending_;
};

}  // namespace leda::checkpoint
