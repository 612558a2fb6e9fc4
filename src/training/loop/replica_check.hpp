// Whether all ranks still hold the same network. They begin equal and make equal updates, so a difference means that a
// message was lost or damaged, or that a rank computed something else: nothing worth a checkpoint.
#pragma once

#include <cstdint>

#include "distributed/core/communicator.hpp"
#include "storage/safetensors.hpp"

namespace leda::training {

// Collective. ErrorOnAllRanks(communication) that names the ranks whose tensors are not, bit for bit, those of the
// majority (all ranks where there is none). Costs a checksum of all tensors, 8 bytes per rank, and a copy where they
// are on a device. `step`, for the message: updates made.
void require_equal_replicas(const storage::TensorArchive& networks, std::int64_t step,
                            distributed::Communicator& communicator);

}  // namespace leda::training
