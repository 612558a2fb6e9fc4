#include "distributed/nccl/nccl_communicator.hpp"

#include <fmt/format.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

namespace leda::distributed {
namespace {

void require_contiguous(const at::Tensor& tensor, const char* call) {
  if (!tensor.is_contiguous()) throw std::logic_error(fmt::format("{} of a tensor that is not contiguous", call));
}

ncclDataType_t summed_type(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return ncclFloat64;
    case at::kFloat:
      return ncclFloat32;
    case at::kBFloat16:
      return ncclBfloat16;
    case at::kLong:
      return ncclInt64;
    case at::kByte:
      return ncclUint8;
    default:
      throw std::logic_error(fmt::format("sum over ranks of {}", c10::toString(type)));
  }
}

std::size_t elements_of(const at::Tensor& tensor) { return static_cast<std::size_t>(tensor.numel()); }

std::string described(const char* call, const at::Tensor& tensor) {
  return fmt::format("{} of {} x {}", call, tensor.numel(), c10::toString(tensor.scalar_type()));
}

// A collective on the device, its tensors kept alive until the compute stream is told to wait for it: only behind that
// point may the allocator give their memory to others.
class PendingOnDevice : public PendingCollective {
 public:
  PendingOnDevice(NcclConnection& connection, CudaEvent end, std::vector<at::Tensor> tensors)
      : connection_(connection), end_(std::move(end)), tensors_(std::move(tensors)) {}
  PendingOnDevice(const PendingOnDevice&) = delete;
  PendingOnDevice& operator=(const PendingOnDevice&) = delete;

  // Never waited for: an exception passes.
  ~PendingOnDevice() override {
    try {
      wait();
    } catch (const std::exception&) {
      for (at::Tensor& tensor : tensors_) static_cast<void>(tensor.unsafeReleaseTensorImpl());
    }
  }

  void wait() override {
    if (tensors_.empty()) return;
    connection_.wait_on_device(end_);
    tensors_.clear();
  }

 private:
  NcclConnection& connection_;
  CudaEvent end_;
  std::vector<at::Tensor> tensors_;
};

// What has no elements has no collective: counts are equal on all ranks, so all of them leave it out.
class NothingPending : public PendingCollective {
 public:
  void wait() override {}
};

std::unique_ptr<PendingCollective> start(NcclConnection& connection, const char* call, std::vector<at::Tensor> tensors,
                                         const NcclConnection::Calls& calls) {
  for (const at::Tensor& tensor : tensors) require_contiguous(tensor, call);
  if (tensors.back().numel() == 0) return std::make_unique<NothingPending>();
  CudaEvent end = connection.start(described(call, tensors.back()), calls);
  return std::make_unique<PendingOnDevice>(connection, std::move(end), std::move(tensors));
}

// Between group start and end NCCL only notes the calls: together they cannot wait for each other in a circle.
ncclResult_t exchange_rows(const at::Tensor& sent, const at::Tensor& received, int num_ranks, ncclComm_t communicator,
                           cudaStream_t stream) {
  const std::size_t row_bytes = sent.nbytes() / static_cast<std::size_t>(num_ranks);
  const auto* source = static_cast<const std::byte*>(sent.const_data_ptr());
  auto* target = static_cast<std::byte*>(received.mutable_data_ptr());
  ncclResult_t result = ncclGroupStart();
  if (result != ncclSuccess) return result;
  for (int peer = 0; peer < num_ranks && result == ncclSuccess; ++peer) {
    const std::size_t row = static_cast<std::size_t>(peer) * row_bytes;
    result = ncclSend(source + row, row_bytes, ncclUint8, peer, communicator, stream);
    if (result == ncclSuccess) result = ncclRecv(target + row, row_bytes, ncclUint8, peer, communicator, stream);
  }
  const ncclResult_t ended = ncclGroupEnd();
  return result == ncclSuccess ? ended : result;
}

}  // namespace

NcclCommunicator::NcclCommunicator(Communicator& control, int device_index, const DeviceOptions& options)
    : control_(control),
      owned_connection_(std::make_unique<NcclConnection>(control, device_index, options)),
      connection_(*owned_connection_) {}

NcclCommunicator::NcclCommunicator(std::unique_ptr<Communicator> control, NcclConnection& connection)
    : owned_control_(std::move(control)), control_(*owned_control_), connection_(connection) {}

std::unique_ptr<PendingCollective> NcclCommunicator::start_all_reduce(at::Tensor tensor) {
  const ncclDataType_t type = summed_type(tensor.scalar_type());
  return start(connection_, "all_reduce", {tensor}, [&](ncclComm_t communicator, cudaStream_t stream) {
    void* values = tensor.mutable_data_ptr();
    return ncclAllReduce(values, values, elements_of(tensor), type, ncclSum, communicator, stream);
  });
}

std::unique_ptr<PendingCollective> NcclCommunicator::start_all_gather(at::Tensor part, at::Tensor all) {
  return start(connection_, "all_gather", {part, all}, [&](ncclComm_t communicator, cudaStream_t stream) {
    return ncclAllGather(part.const_data_ptr(), all.mutable_data_ptr(), part.nbytes(), ncclUint8, communicator, stream);
  });
}

std::unique_ptr<PendingCollective> NcclCommunicator::start_all_to_all(at::Tensor sent, at::Tensor received) {
  return start(connection_, "all_to_all", {sent, received}, [&](ncclComm_t communicator, cudaStream_t stream) {
    return exchange_rows(sent, received, size(), communicator, stream);
  });
}

void NcclCommunicator::broadcast(at::Tensor tensor, int root) {
  const auto pending = start(connection_, "broadcast", {tensor}, [&](ncclComm_t communicator, cudaStream_t stream) {
    void* values = tensor.mutable_data_ptr();
    return ncclBroadcast(values, values, tensor.nbytes(), ncclUint8, root, communicator, stream);
  });
  pending->wait();
}

std::unique_ptr<Communicator> NcclCommunicator::duplicate() {
  return std::unique_ptr<Communicator>(new NcclCommunicator(control_.duplicate(), connection_));
}

void NcclCommunicator::abort(int exit_code) {
  control_.abort(exit_code);
  std::abort();  // a virtual call's promise not to return is not known to the compiler
}

}  // namespace leda::distributed
