#include "distributed/mpi_communicator.hpp"

#include <ATen/ops/empty.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "distributed/mpi_check.hpp"

namespace leda::distributed {
namespace {

void check_tensor(const at::Tensor& tensor, const char* call) {
  if (!tensor.is_cpu()) {
    throw base::ErrorOnAllRanks(
        base::ExitCode::communication,
        {.what = fmt::format("{} over MPI got a tensor on {}", call, tensor.device().str()),
         .value = "",
         .why = "several ranks on GPUs need the NCCL communicator, which this build does not have: MPI reads host "
                "memory only",
         .remedy = "run several ranks with run.device = cpu, or one rank on the GPU"});
  }
  if (!tensor.is_contiguous()) throw std::logic_error(fmt::format("{} of a tensor that is not contiguous", call));
}

MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kLong:
      return MPI_INT64_T;
    default:
      throw std::logic_error(fmt::format("sum over ranks of {}", c10::toString(type)));
  }
}

// The pieces of one all-reduce under way.
class PendingRequests : public PendingCollective {
 public:
  explicit PendingRequests(at::Tensor tensor) : tensor_(std::move(tensor)) {}
  PendingRequests(const PendingRequests&) = delete;
  PendingRequests& operator=(const PendingRequests&) = delete;

  // Never waited for: an exception passes, and the other ranks may never answer. MPI may still write into the
  // tensor, so its memory is left to the end of the process.
  ~PendingRequests() override {
    if (!requests_.empty()) static_cast<void>(tensor_.unsafeReleaseTensorImpl());
  }

  void start(std::int64_t max_count, MPI_Comm communicator) {
    const MPI_Datatype type = mpi_type(tensor_.scalar_type());
    auto* bytes = static_cast<std::byte*>(tensor_.mutable_data_ptr());
    for (std::int64_t first = 0; first < tensor_.numel(); first += max_count) {
      const int count = static_cast<int>(std::min(max_count, tensor_.numel() - first));
      MPI_Request request = MPI_REQUEST_NULL;
      check_mpi(MPI_Iallreduce(MPI_IN_PLACE, bytes + first * tensor_.element_size(), count, type, MPI_SUM, communicator,
                               &request),
                "MPI_Iallreduce");
      requests_.push_back(request);
    }
  }

  void wait() override {
    if (requests_.empty()) return;
    check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
    requests_.clear();
  }

 private:
  at::Tensor tensor_;
  std::vector<MPI_Request> requests_;
};

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm parent, std::int64_t max_count) : max_count_(max_count) {
  check_mpi(MPI_Comm_dup(parent, &communicator_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(communicator_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(communicator_, &size_), "MPI_Comm_size");
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(communicator_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(host, &local_rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(host, &local_size_), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
}

MpiCommunicator::~MpiCommunicator() {
  // Freeing is collective; while an exception passes, the other ranks are elsewhere and the job is about to end.
  if (std::uncaught_exceptions() == 0) MPI_Comm_free(&communicator_);
}

std::unique_ptr<PendingCollective> MpiCommunicator::start_all_reduce(at::Tensor tensor) {
  check_tensor(tensor, "all_reduce");
  auto pending = std::make_unique<PendingRequests>(std::move(tensor));
  pending->start(max_count_, communicator_);
  return pending;
}

void MpiCommunicator::broadcast(at::Tensor tensor, int root) {
  check_tensor(tensor, "broadcast");
  broadcast_bytes(static_cast<std::byte*>(tensor.mutable_data_ptr()), static_cast<std::int64_t>(tensor.nbytes()), root);
}

at::Tensor MpiCommunicator::all_gather(const at::Tensor& tensor) {
  const at::Tensor mine = tensor.detach().contiguous();
  check_tensor(mine, "all_gather");
  std::vector<std::int64_t> shape = mine.sizes().vec();
  shape.insert(shape.begin(), size_);
  at::Tensor all = at::empty(shape, mine.options());
  const auto num_bytes = static_cast<std::int64_t>(mine.nbytes());
  auto* bytes = static_cast<std::byte*>(all.mutable_data_ptr());
  if (num_bytes <= max_count_) {
    check_mpi(MPI_Allgather(mine.const_data_ptr(), static_cast<int>(num_bytes), MPI_BYTE, bytes,
                            static_cast<int>(num_bytes), MPI_BYTE, communicator_),
              "MPI_Allgather");
    return all;
  }
  all.select(0, rank_).copy_(mine);
  for (int root = 0; root < size_; ++root) broadcast_bytes(bytes + root * num_bytes, num_bytes, root);
  return all;
}

void MpiCommunicator::broadcast_bytes(std::byte* bytes, std::int64_t num_bytes, int root) {
  for (std::int64_t first = 0; first < num_bytes; first += max_count_) {
    const int count = static_cast<int>(std::min(max_count_, num_bytes - first));
    check_mpi(MPI_Bcast(bytes + first, count, MPI_BYTE, root, communicator_), "MPI_Bcast");
  }
}

void MpiCommunicator::barrier() { check_mpi(MPI_Barrier(communicator_), "MPI_Barrier"); }

std::unique_ptr<Communicator> MpiCommunicator::duplicate() {
  return std::make_unique<MpiCommunicator>(communicator_, max_count_);
}

void MpiCommunicator::abort(int exit_code) {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace leda::distributed
