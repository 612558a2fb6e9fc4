// The stream on which LibTorch's operations of the calling thread run. The one place that asks LibTorch's CUDA part:
// programs link cuda_compute_stream.cpp, tests without a GPU a stream of their own.
#pragma once

#include <cuda_runtime_api.h>

namespace leda::distributed {

cudaStream_t compute_stream(int device_index);

}  // namespace leda::distributed
