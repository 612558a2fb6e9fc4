// Ranks that are processes under MPI, with tensors in host memory. Every MPI call's result is checked. Needs a running
// MPI (MpiSession) and ends before it. One thread at a time. Shows mpi.h: make_communicator.hpp is for everybody else.
#pragma once

#include <mpi.h>

#include <memory>

#include "distributed/core/communicator.hpp"
#include "distributed/mpi/mpi_progress.hpp"

namespace leda::distributed {

class MpiCommunicator : public Communicator {
 public:
  // Works on a duplicate of `parent`. Longer messages than max_count elements (or bytes) travel in pieces: an MPI
  // count is an int. Collective.
  explicit MpiCommunicator(MPI_Comm parent, std::int64_t max_count = std::int64_t{1} << 30);
  // The same with another communicator's progress thread, which it must not outlive.
  MpiCommunicator(MPI_Comm parent, std::int64_t max_count, MpiProgress& progress);
  ~MpiCommunicator() override;
  MpiCommunicator(const MpiCommunicator&) = delete;
  MpiCommunicator& operator=(const MpiCommunicator&) = delete;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  int local_rank() const override { return local_rank_; }
  int local_size() const override { return local_size_; }

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override;
  std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override;
  void broadcast(at::Tensor tensor, int root) override;
  void barrier() override;
  std::unique_ptr<Communicator> duplicate() override;
  [[noreturn]] void abort(int exit_code) override;

 private:
  void duplicate_of(MPI_Comm parent);
  MPI_Op sum_of(at::ScalarType type) const;

  MPI_Op add_bfloat16_ = MPI_OP_NULL;
  MPI_Comm communicator_ = MPI_COMM_NULL;
  std::int64_t max_count_;
  std::unique_ptr<MpiProgress> own_progress_;  // null in duplicates
  MpiProgress& progress_;
  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
};

}  // namespace leda::distributed
