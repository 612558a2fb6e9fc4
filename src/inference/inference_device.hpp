// Where a rank of a program that applies networks computes: each rank works on slices of its own and needs no other's
// GPU, so that ranks may share one.
#pragma once

#include <c10/core/Device.h>

#include "distributed/communicator.hpp"

namespace leda::inference {

// The GPU of this rank's place on its host, counted round where there are more ranks than GPUs; the CPU where this
// process sees none. Ranks that decide differently are no fault.
at::Device inference_device(const distributed::Communicator& communicator);

}  // namespace leda::inference
