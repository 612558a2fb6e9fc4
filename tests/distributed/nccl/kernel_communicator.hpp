// Stands for the kernels of a training step around a communicator on the fake GPU: before a collective a kernel on the
// compute stream fills each buffer (until it has run, the buffer holds rubbish), and after wait() a kernel on the
// compute stream reads the result and the host waits for it. With it, tests that use host memory test the order on
// streams as well.
#pragma once

#include <memory>

#include "distributed/core/communicator.hpp"
#include "tests/distributed/fake_gpu/fake_gpu.hpp"

namespace leda::test {

class KernelCommunicator : public distributed::Communicator {
 public:
  KernelCommunicator(fake_gpu::Machine& machine, std::unique_ptr<distributed::Communicator> communicator)
      : machine_(machine), communicator_(std::move(communicator)) {}

  int rank() const override { return communicator_->rank(); }
  int size() const override { return communicator_->size(); }
  int local_rank() const override { return communicator_->local_rank(); }
  int local_size() const override { return communicator_->local_size(); }

  std::unique_ptr<distributed::PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<distributed::PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override;
  std::unique_ptr<distributed::PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override;
  void broadcast(at::Tensor tensor, int root) override;
  void barrier() override { communicator_->barrier(); }
  std::unique_ptr<distributed::Communicator> duplicate() override {
    return std::make_unique<KernelCommunicator>(machine_, communicator_->duplicate());
  }
  [[noreturn]] void abort(int exit_code) override;

 private:
  fake_gpu::Machine& machine_;
  std::unique_ptr<distributed::Communicator> communicator_;
};

}  // namespace leda::test
