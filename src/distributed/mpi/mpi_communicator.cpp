#include "distributed/mpi/mpi_communicator.hpp"

#include <c10/util/BFloat16.h>
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <stdexcept>
#include <utility>

#include "base/error.hpp"
#include "distributed/core/exit_deadline.hpp"
#include "distributed/mpi/mpi_check.hpp"

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

// MPI has no bfloat16: it travels as 16-bit words with a sum of our own.
MPI_Datatype mpi_type(at::ScalarType type) {
  switch (type) {
    case at::kDouble:
      return MPI_DOUBLE;
    case at::kFloat:
      return MPI_FLOAT;
    case at::kBFloat16:
      return MPI_UINT16_T;
    case at::kLong:
      return MPI_INT64_T;
    case at::kByte:
      return MPI_UINT8_T;
    default:
      throw std::logic_error(fmt::format("sum over ranks of {}", c10::toString(type)));
  }
}

extern "C" void leda_add_bfloat16(void* added, void* sum, int* count, MPI_Datatype*) {
  const auto* terms = static_cast<const c10::BFloat16*>(added);
  auto* sums = static_cast<c10::BFloat16*>(sum);
  for (int i = 0; i < *count; ++i) sums[i] = static_cast<float>(terms[i]) + static_cast<float>(sums[i]);
}

// Smaller ones are through in one or two messages; a thread that wakes up for them costs more than it gains.
constexpr std::int64_t kLargeBytes = std::int64_t{64} << 10;

std::byte* bytes_of(const at::Tensor& tensor) { return static_cast<std::byte*>(tensor.mutable_data_ptr()); }

std::int64_t row_elements(const at::Tensor& rows) { return rows.numel() / rows.size(0); }

// The MPI requests of one collective under way, and the tensors they read and write.
class PendingRequests : public PendingCollective {
 public:
  explicit PendingRequests(std::vector<at::Tensor> tensors) : tensors_(std::move(tensors)) {}
  PendingRequests(const PendingRequests&) = delete;
  PendingRequests& operator=(const PendingRequests&) = delete;

  // Never waited for: an exception passes, and the other ranks may never answer. MPI may still write into the
  // tensors, so their memory is left to the end of the process.
  ~PendingRequests() override {
    if (requests_.empty()) return;
    for (at::Tensor& tensor : tensors_) static_cast<void>(tensor.unsafeReleaseTensorImpl());
  }

  // `start(request)` calls one of MPI's non-blocking functions.
  template <typename Start>
  void add(const char* call, const Start& start) {
    MPI_Request request = MPI_REQUEST_NULL;
    check_mpi(start(&request), call);
    requests_.push_back(request);
  }

  // Once all are added.
  void advance_with(MpiProgress& progress) { need_ = MpiProgress::Need(progress, requests_); }

  void wait() override {
    if (requests_.empty()) return;
    need_ = {};  // waiting moves everything on by itself, and MPI_Waitall must be alone with its requests
    check_mpi(MPI_Waitall(static_cast<int>(requests_.size()), requests_.data(), MPI_STATUSES_IGNORE), "MPI_Waitall");
    requests_.clear();
  }

 private:
  std::vector<at::Tensor> tensors_;
  std::vector<MPI_Request> requests_;
  MpiProgress::Need need_;
};

// Large ones advance while the rank computes.
std::unique_ptr<PendingCollective> under_way(std::unique_ptr<PendingRequests> pending, const at::Tensor& largest,
                                             MpiProgress& progress) {
  if (static_cast<std::int64_t>(largest.nbytes()) >= kLargeBytes) pending->advance_with(progress);
  return pending;
}

// `count` bytes out of each row of a tensor of rows of `row_bytes`: as an MPI type whose next element lies in the next
// row, so that a piece of every row travels in one call.
class RowPiece {
 public:
  RowPiece(int count, std::int64_t row_bytes) {
    MPI_Datatype piece = MPI_DATATYPE_NULL;
    check_mpi(MPI_Type_contiguous(count, MPI_BYTE, &piece), "MPI_Type_contiguous");
    check_mpi(MPI_Type_create_resized(piece, 0, row_bytes, &type_), "MPI_Type_create_resized");
    check_mpi(MPI_Type_commit(&type_), "MPI_Type_commit");
    check_mpi(MPI_Type_free(&piece), "MPI_Type_free");
  }
  // MPI keeps the type until calls that use it are complete.
  ~RowPiece() { MPI_Type_free(&type_); }
  RowPiece(const RowPiece&) = delete;
  RowPiece& operator=(const RowPiece&) = delete;

  MPI_Datatype type() const { return type_; }

 private:
  MPI_Datatype type_ = MPI_DATATYPE_NULL;
};

// Calls `piece(first, count)` for [0, total) in pieces of at most max_count.
template <typename Piece>
void for_each_piece(std::int64_t total, std::int64_t max_count, const Piece& piece) {
  for (std::int64_t first = 0; first < total; first += max_count) {
    piece(first, static_cast<int>(std::min(max_count, total - first)));
  }
}

}  // namespace

MpiCommunicator::MpiCommunicator(MPI_Comm parent, std::int64_t max_count)
    : max_count_(max_count), own_progress_(std::make_unique<MpiProgress>()), progress_(*own_progress_) {
  duplicate_of(parent);
}

MpiCommunicator::MpiCommunicator(MPI_Comm parent, std::int64_t max_count, MpiProgress& progress)
    : max_count_(max_count), progress_(progress) {
  duplicate_of(parent);
}

void MpiCommunicator::duplicate_of(MPI_Comm parent) {
  check_mpi(MPI_Comm_dup(parent, &communicator_), "MPI_Comm_dup");
  check_mpi(MPI_Comm_set_errhandler(communicator_, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  check_mpi(MPI_Comm_rank(communicator_, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(communicator_, &size_), "MPI_Comm_size");
  check_mpi(MPI_Op_create(leda_add_bfloat16, /*commute=*/1, &add_bfloat16_), "MPI_Op_create");
  MPI_Comm host = MPI_COMM_NULL;
  check_mpi(MPI_Comm_split_type(communicator_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &host),
            "MPI_Comm_split_type");
  check_mpi(MPI_Comm_rank(host, &local_rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(host, &local_size_), "MPI_Comm_size");
  check_mpi(MPI_Comm_free(&host), "MPI_Comm_free");
}

MpiCommunicator::~MpiCommunicator() {
  // Freeing is collective; while an exception passes, the other ranks are elsewhere and the job is about to end.
  if (std::uncaught_exceptions() > 0) return;
  MPI_Op_free(&add_bfloat16_);
  MPI_Comm_free(&communicator_);
}

MPI_Op MpiCommunicator::sum_of(at::ScalarType type) const { return type == at::kBFloat16 ? add_bfloat16_ : MPI_SUM; }

std::unique_ptr<PendingCollective> MpiCommunicator::start_all_reduce(at::Tensor tensor) {
  check_tensor(tensor, "all_reduce");
  auto pending = std::make_unique<PendingRequests>(std::vector{tensor});
  const MPI_Datatype type = mpi_type(tensor.scalar_type());
  for_each_piece(tensor.numel(), max_count_, [&](std::int64_t first, int count) {
    pending->add("MPI_Iallreduce", [&](MPI_Request* request) {
      return MPI_Iallreduce(MPI_IN_PLACE, bytes_of(tensor) + first * tensor.element_size(), count, type,
                            sum_of(tensor.scalar_type()), communicator_, request);
    });
  });
  return under_way(std::move(pending), tensor, progress_);
}

std::unique_ptr<PendingCollective> MpiCommunicator::start_all_gather(at::Tensor part, at::Tensor all) {
  check_tensor(part, "all_gather");
  check_tensor(all, "all_gather");
  auto pending = std::make_unique<PendingRequests>(std::vector{part, all});
  const auto row_bytes = static_cast<std::int64_t>(part.nbytes());
  for_each_piece(row_bytes, max_count_, [&](std::int64_t first, int count) {
    const RowPiece piece(count, row_bytes);
    pending->add("MPI_Iallgather", [&](MPI_Request* request) {
      return MPI_Iallgather(bytes_of(part) + first, count, MPI_BYTE, bytes_of(all) + first, 1, piece.type(),
                            communicator_, request);
    });
  });
  return under_way(std::move(pending), all, progress_);
}

std::unique_ptr<PendingCollective> MpiCommunicator::start_all_to_all(at::Tensor sent, at::Tensor received) {
  check_tensor(sent, "all_to_all");
  check_tensor(received, "all_to_all");
  auto pending = std::make_unique<PendingRequests>(std::vector{sent, received});
  const std::int64_t row_bytes = row_elements(sent) * sent.element_size();
  for_each_piece(row_bytes, max_count_, [&](std::int64_t first, int count) {
    const RowPiece piece(count, row_bytes);
    pending->add("MPI_Ialltoall", [&](MPI_Request* request) {
      return MPI_Ialltoall(bytes_of(sent) + first, 1, piece.type(), bytes_of(received) + first, 1, piece.type(),
                           communicator_, request);
    });
  });
  return under_way(std::move(pending), sent, progress_);
}

void MpiCommunicator::broadcast(at::Tensor tensor, int root) {
  check_tensor(tensor, "broadcast");
  for_each_piece(static_cast<std::int64_t>(tensor.nbytes()), max_count_, [&](std::int64_t first, int count) {
    check_mpi(MPI_Bcast(bytes_of(tensor) + first, count, MPI_BYTE, root, communicator_), "MPI_Bcast");
  });
}

void MpiCommunicator::barrier() { check_mpi(MPI_Barrier(communicator_), "MPI_Barrier"); }

std::unique_ptr<Communicator> MpiCommunicator::duplicate() {
  return std::make_unique<MpiCommunicator>(communicator_, max_count_, progress_);
}

void MpiCommunicator::abort(int exit_code) { end_all_ranks(exit_code); }

}  // namespace leda::distributed
