#include "distributed/nccl/nccl_check.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace leda::distributed {
namespace {

constexpr const char* kRemedy =
    "look for an earlier message of another rank; check the driver (nvidia-smi) and, with NCCL_DEBUG=INFO, the "
    "network; "
    "then start the run again, it resumes from its last checkpoint";

}  // namespace

void check_cuda(cudaError_t code, const char* call) {
  if (code == cudaSuccess) return;
  throw base::Error(base::ExitCode::communication,
                    {.what = fmt::format("{} failed", call),
                     .value = fmt::format("{}: {}", cudaGetErrorName(code), cudaGetErrorString(code)),
                     .why = "the GPU of this rank cannot be used",
                     .remedy = kRemedy});
}

std::string nccl_text(ncclResult_t code, ncclComm_t communicator) {
  const char* detail = ncclGetLastError(communicator);
  if (detail == nullptr || *detail == '\0') return ncclGetErrorString(code);
  return fmt::format("{} ({})", ncclGetErrorString(code), detail);
}

void check_nccl(ncclResult_t code, const std::string& call, ncclComm_t communicator) {
  if (code == ncclSuccess) return;
  throw base::Error(base::ExitCode::communication, {.what = fmt::format("{} failed", call),
                                                    .value = nccl_text(code, communicator),
                                                    .why = "the GPUs can no longer exchange gradients",
                                                    .remedy = kRemedy});
}

}  // namespace leda::distributed
