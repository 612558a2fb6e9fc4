// Result codes of CUDA and NCCL as exceptions. For the files of this folder that call them.
#pragma once

#include <cuda_runtime_api.h>
#include <nccl.h>

#include <string>

namespace leda::distributed {

// Error(communication) with CUDA's own text unless `code` is cudaSuccess. `call` names what was tried.
void check_cuda(cudaError_t code, const char* call);
// The same for NCCL; ncclInProgress is an error here: who allows it waits for it first. `communicator` may be null.
void check_nccl(ncclResult_t code, const std::string& call, ncclComm_t communicator);
// NCCL's name for a result, and what it last wrote down about it.
std::string nccl_text(ncclResult_t code, ncclComm_t communicator);

}  // namespace leda::distributed
