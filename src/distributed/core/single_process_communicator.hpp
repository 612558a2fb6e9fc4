// A world of one rank: every collective is the identity or a copy, on any device. No MPI needed.
#pragma once

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

class SingleProcessCommunicator : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  int local_rank() const override { return 0; }
  int local_size() const override { return 1; }

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override;
  std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override;
  void broadcast(at::Tensor tensor, int root) override;
  void barrier() override {}
  std::unique_ptr<Communicator> duplicate() override;
  [[noreturn]] void abort(int exit_code) override;
};

}  // namespace leda::distributed
