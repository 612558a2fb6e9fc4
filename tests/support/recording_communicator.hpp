// Passes every collective on to another communicator and writes down what was called: kind, type, shape, and on which
// channel, in the order of this rank's calls over all channels. Duplicates write into the same record.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::test {

class RecordingCommunicator : public distributed::Communicator {
 public:
  // The record must outlive the communicator and its duplicates; one thread.
  RecordingCommunicator(distributed::Communicator& target, std::vector<std::string>& record);

  int rank() const override { return target_.rank(); }
  int size() const override { return target_.size(); }
  int local_rank() const override { return target_.local_rank(); }
  int local_size() const override { return target_.local_size(); }

  std::unique_ptr<distributed::PendingCollective> start_all_reduce(at::Tensor tensor) override;
  std::unique_ptr<distributed::PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override;
  std::unique_ptr<distributed::PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override;
  void broadcast(at::Tensor tensor, int root) override;
  void barrier() override;
  std::unique_ptr<distributed::Communicator> duplicate() override;
  [[noreturn]] void abort(int exit_code) override;

 private:
  RecordingCommunicator(std::unique_ptr<distributed::Communicator> owned, std::vector<std::string>& record,
                        std::string channel);
  void note(const std::string& kind, const at::Tensor& tensor);

  std::unique_ptr<distributed::Communicator> owned_;  // of a duplicate
  distributed::Communicator& target_;
  std::vector<std::string>& record_;
  std::string channel_;
  int num_duplicates_ = 0;
};

}  // namespace leda::test
