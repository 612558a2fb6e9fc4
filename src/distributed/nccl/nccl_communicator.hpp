// Collectives on GPUs by NCCL. Every tensor is device memory of this rank's GPU: it is never looked at, only handed on.
// Nothing waits on the host: a result is there for what the compute stream is given after wait(). All duplicates share
// one NCCL communicator and one stream, so that the device sees one order of collectives; all ranks therefore make the
// calls of *all* duplicates in one order, from one thread at a time. MPI (the control communicator) carries the id,
// barriers and nothing else. docs/methods/gpu_communication.md
#pragma once

#include <memory>

#include "distributed/core/communicator.hpp"
#include "distributed/nccl/nccl_connection.hpp"

namespace leda::distributed {

class NcclCommunicator : public Communicator {
 public:
  // Connects the ranks of `control`, which outlives it, each with its device. Collective. Errors as connect_ranks.
  NcclCommunicator(Communicator& control, int device_index, const DeviceOptions& options);

  int rank() const override { return control_.rank(); }
  int size() const override { return control_.size(); }
  int local_rank() const override { return control_.local_rank(); }
  int local_size() const override { return control_.local_size(); }

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override;
  std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override;
  void broadcast(at::Tensor tensor, int root) override;
  // Of the hosts; it says nothing about what the devices have finished.
  void barrier() override { control_.barrier(); }
  std::unique_ptr<Communicator> duplicate() override;
  [[noreturn]] void abort(int exit_code) override;

 private:
  NcclCommunicator(std::unique_ptr<Communicator> control, NcclConnection& connection);

  std::unique_ptr<Communicator> owned_control_;  // of a duplicate
  Communicator& control_;
  std::unique_ptr<NcclConnection> owned_connection_;  // of the first
  NcclConnection& connection_;
};

}  // namespace leda::distributed
