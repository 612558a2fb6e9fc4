// One communicator for tensors anywhere: host memory by the control communicator (MPI), device memory by the device
// communicator (NCCL). The order of calls holds within each of the two. The control communicator must outlive it.
#pragma once

#include <memory>
#include <string_view>

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

class DeviceCommunicator : public Communicator {
 public:
  DeviceCommunicator(Communicator& control, std::unique_ptr<Communicator> device);

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
  void note(std::string_view text) override { control_.note(text); }
  void label_next(std::string_view label) override { device_->label_next(label); }
  [[noreturn]] void abort(int exit_code) override;

 private:
  DeviceCommunicator(std::unique_ptr<Communicator> control, std::unique_ptr<Communicator> device);
  Communicator& responsible_for(const at::Tensor& tensor) { return tensor.is_cpu() ? control_ : *device_; }

  std::unique_ptr<Communicator> owned_control_;  // of a duplicate
  Communicator& control_;
  std::unique_ptr<Communicator> device_;
};

}  // namespace leda::distributed
