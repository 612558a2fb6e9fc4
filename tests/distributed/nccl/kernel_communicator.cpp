#include "tests/distributed/nccl/kernel_communicator.hpp"

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <vector>

namespace leda::test {
namespace {

using distributed::PendingCollective;

void fill_by_kernel(fake_gpu::Machine& machine, const at::Tensor& tensor) {
  if (tensor.nbytes() == 0) return;
  auto* memory = static_cast<std::byte*>(tensor.mutable_data_ptr());
  const std::vector<std::byte> values(memory, memory + tensor.nbytes());
  std::memset(memory, 0xff, values.size());  // NaN, -1, 255
  machine.launch_write(memory, values.size(),
                       [tensor, memory, values] { std::memcpy(memory, values.data(), values.size()); });
}

void read_by_kernel(fake_gpu::Machine& machine, const at::Tensor& tensor) {
  if (tensor.nbytes() == 0) return;
  machine.launch_read(tensor.const_data_ptr(), tensor.nbytes());
  if (cudaStreamSynchronize(machine.compute_stream()) != cudaSuccess) throw std::runtime_error("the fake GPU fails");
}

class PendingWithKernels : public PendingCollective {
 public:
  PendingWithKernels(fake_gpu::Machine& machine, std::unique_ptr<PendingCollective> pending, at::Tensor source,
                     at::Tensor result)
      : machine_(machine), pending_(std::move(pending)), source_(std::move(source)), result_(std::move(result)) {}

  void wait() override {
    if (!pending_) return;
    pending_->wait();
    pending_.reset();
    read_by_kernel(machine_, result_);
  }

 private:
  fake_gpu::Machine& machine_;
  std::unique_ptr<PendingCollective> pending_;
  at::Tensor source_;  // host memory is not given back in the order of a stream: it stays until the kernel has read
  at::Tensor result_;
};

}  // namespace

std::unique_ptr<PendingCollective> KernelCommunicator::start_all_reduce(at::Tensor tensor) {
  fill_by_kernel(machine_, tensor);
  return std::make_unique<PendingWithKernels>(machine_, communicator_->start_all_reduce(tensor), tensor, tensor);
}

std::unique_ptr<PendingCollective> KernelCommunicator::start_all_gather(at::Tensor part, at::Tensor all) {
  fill_by_kernel(machine_, part);
  fill_by_kernel(machine_, all);
  return std::make_unique<PendingWithKernels>(machine_, communicator_->start_all_gather(part, all), part, all);
}

std::unique_ptr<PendingCollective> KernelCommunicator::start_all_to_all(at::Tensor sent, at::Tensor received) {
  fill_by_kernel(machine_, sent);
  fill_by_kernel(machine_, received);
  return std::make_unique<PendingWithKernels>(machine_, communicator_->start_all_to_all(sent, received), sent,
                                              received);
}

void KernelCommunicator::broadcast(at::Tensor tensor, int root) {
  fill_by_kernel(machine_, tensor);
  communicator_->broadcast(tensor, root);
  read_by_kernel(machine_, tensor);
}

void KernelCommunicator::abort(int exit_code) {
  communicator_->abort(exit_code);
  std::abort();  // a virtual call's promise not to return is not known to the compiler
}

}  // namespace leda::test
