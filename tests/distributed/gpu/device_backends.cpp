// The communicator backends of the shared suite on real GPUs: NcclCommunicator with the real NCCL, on device memory
// that the host's tensors are copied to and from. In place of communicator_backends_test.cpp, and of
// cuda_compute_stream.cpp: LibTorch's CUDA part is not needed.
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <utility>

#include "distributed/mpi/mpi_communicator.hpp"
#include "distributed/nccl/cuda_compute_stream.hpp"
#include "distributed/nccl/nccl_check.hpp"
#include "distributed/nccl/nccl_communicator.hpp"
#include "tests/distributed/communicator_backends.hpp"

namespace leda::distributed {

cudaStream_t compute_stream(int) { return nullptr; }  // the default stream, which LibTorch computes on

}  // namespace leda::distributed

namespace leda::test {
namespace {

using distributed::check_cuda;
using distributed::PendingCollective;

// A host tensor's place on the device. The tensor that names it claims to lie in host memory and is never looked into.
class DeviceCopy {
 public:
  explicit DeviceCopy(at::Tensor host) : host_(std::move(host)) {
    check_cuda(cudaMalloc(&memory_, std::max<std::size_t>(1, host_.nbytes())), "cudaMalloc");
    check_cuda(cudaMemcpyAsync(memory_, host_.const_data_ptr(), host_.nbytes(), cudaMemcpyHostToDevice, nullptr),
               "cudaMemcpyAsync");
  }
  ~DeviceCopy() { cudaFree(memory_); }
  DeviceCopy(const DeviceCopy&) = delete;
  DeviceCopy& operator=(const DeviceCopy&) = delete;

  at::Tensor tensor() const { return at::from_blob(memory_, host_.sizes(), host_.options()); }
  void copy_back() {
    check_cuda(cudaMemcpyAsync(host_.mutable_data_ptr(), memory_, host_.nbytes(), cudaMemcpyDeviceToHost, nullptr),
               "cudaMemcpyAsync");
    check_cuda(cudaStreamSynchronize(nullptr), "cudaStreamSynchronize");
  }

 private:
  at::Tensor host_;
  void* memory_ = nullptr;
};

class PendingCopy : public PendingCollective {
 public:
  PendingCopy(std::unique_ptr<DeviceCopy> source, std::unique_ptr<DeviceCopy> target)
      : source_(std::move(source)), target_(std::move(target)) {}

  std::unique_ptr<PendingCollective> pending;
  void wait() override {
    pending->wait();
    target_->copy_back();
  }

 private:
  std::unique_ptr<DeviceCopy> source_;
  std::unique_ptr<DeviceCopy> target_;
};

class CopyingCommunicator : public distributed::Communicator {
 public:
  explicit CopyingCommunicator(std::unique_ptr<distributed::Communicator> nccl) : nccl_(std::move(nccl)) {}

  int rank() const override { return nccl_->rank(); }
  int size() const override { return nccl_->size(); }
  int local_rank() const override { return nccl_->local_rank(); }
  int local_size() const override { return nccl_->local_size(); }

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override {
    auto copy = std::make_unique<DeviceCopy>(tensor);
    const at::Tensor on_device = copy->tensor();
    auto result = std::make_unique<PendingCopy>(nullptr, std::move(copy));
    result->pending = nccl_->start_all_reduce(on_device);
    return result;
  }
  std::unique_ptr<PendingCollective> start_all_gather(at::Tensor part, at::Tensor all) override {
    return start(part, all, [this](const at::Tensor& a, const at::Tensor& b) { return nccl_->start_all_gather(a, b); });
  }
  std::unique_ptr<PendingCollective> start_all_to_all(at::Tensor sent, at::Tensor received) override {
    return start(sent, received,
                 [this](const at::Tensor& a, const at::Tensor& b) { return nccl_->start_all_to_all(a, b); });
  }
  void broadcast(at::Tensor tensor, int root) override {
    DeviceCopy copy(tensor);
    nccl_->broadcast(copy.tensor(), root);
    copy.copy_back();
  }
  void barrier() override { nccl_->barrier(); }
  std::unique_ptr<distributed::Communicator> duplicate() override {
    return std::make_unique<CopyingCommunicator>(nccl_->duplicate());
  }
  [[noreturn]] void abort(int exit_code) override {
    nccl_->abort(exit_code);
    std::abort();
  }

 private:
  template <typename Start>
  static std::unique_ptr<PendingCollective> start(const at::Tensor& source, const at::Tensor& target,
                                                  const Start& start_on_device) {
    auto from = std::make_unique<DeviceCopy>(source);
    auto to = std::make_unique<DeviceCopy>(target);
    const at::Tensor a = from->tensor();
    const at::Tensor b = to->tensor();
    auto result = std::make_unique<PendingCopy>(std::move(from), std::move(to));
    result->pending = start_on_device(a, b);
    return result;
  }

  std::unique_ptr<distributed::Communicator> nccl_;
};

}  // namespace

std::vector<CommunicatorBackend> local_backends() { return {}; }

std::vector<CommunicatorBackend> mpi_backends() {
  const auto run = [](const std::function<void(distributed::Communicator&)>& body) {
    distributed::MpiCommunicator control(MPI_COMM_WORLD);
    int num_devices = 0;
    if (cudaGetDeviceCount(&num_devices) != cudaSuccess || num_devices < control.local_size()) {
      GTEST_SKIP() << "NO GPU FOR EACH RANK HERE (" << num_devices << " for " << control.local_size()
                   << "): NCCL was not run";
    }
    CopyingCommunicator communicator(
        std::make_unique<distributed::NcclCommunicator>(control, control.local_rank(), distributed::DeviceOptions{}));
    body(communicator);
  };
  return {{"nccl_on_gpus", run, true, /*orders_duplicates_freely=*/false}};
}

}  // namespace leda::test
