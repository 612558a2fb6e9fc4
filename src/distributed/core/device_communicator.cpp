#include "distributed/core/device_communicator.hpp"

#include <cstdlib>
#include <utility>

namespace leda::distributed {

DeviceCommunicator::DeviceCommunicator(Communicator& control, std::unique_ptr<Communicator> device)
    : control_(control), device_(std::move(device)) {}

DeviceCommunicator::DeviceCommunicator(std::unique_ptr<Communicator> control, std::unique_ptr<Communicator> device)
    : owned_control_(std::move(control)), control_(*owned_control_), device_(std::move(device)) {}

std::unique_ptr<PendingCollective> DeviceCommunicator::start_all_reduce(at::Tensor tensor) {
  return responsible_for(tensor).start_all_reduce(tensor);
}

std::unique_ptr<PendingCollective> DeviceCommunicator::start_all_gather(at::Tensor part, at::Tensor all) {
  return responsible_for(all).start_all_gather(std::move(part), all);
}

std::unique_ptr<PendingCollective> DeviceCommunicator::start_all_to_all(at::Tensor sent, at::Tensor received) {
  return responsible_for(received).start_all_to_all(std::move(sent), received);
}

void DeviceCommunicator::broadcast(at::Tensor tensor, int root) { responsible_for(tensor).broadcast(tensor, root); }

std::unique_ptr<Communicator> DeviceCommunicator::duplicate() {
  return std::unique_ptr<Communicator>(new DeviceCommunicator(control_.duplicate(), device_->duplicate()));
}

void DeviceCommunicator::abort(int exit_code) {
  control_.abort(exit_code);
  std::abort();  // a virtual call's promise not to return is not known to the compiler
}

}  // namespace leda::distributed
