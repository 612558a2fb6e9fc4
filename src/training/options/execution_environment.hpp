// What must be equal before and after an interruption for a run to end with the bits of one that was never interrupted:
// number of ranks, threads, instruction set, kind of device. Kept in every checkpoint; a difference is said on resume.
#pragma once

#include <c10/core/Device.h>

#include <string>
#include <utility>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::training {

using ExecutionEnvironment = std::vector<std::pair<std::string, std::string>>;  // name, value

// Of all ranks. With `is_reproducible` the number of ranks changes no bit and is left out. Collective.
ExecutionEnvironment gather_execution_environment(distributed::Communicator& communicator, at::Device device,
                                                  bool is_reproducible);

// On processors, ErrorOnAllRanks(communication) where ranks have different instruction sets: each makes its own update
// of the same weights, and they would drift apart in the last bits. Collective.
void require_one_instruction_set(distributed::Communicator& communicator, at::Device device);

// Texts by rank, shortened where neighbours agree: "AVX2", or "2 x AVX2, 1 x DEFAULT".
std::string by_runs(const std::vector<std::string>& of_ranks);

// "num_ranks was 2, is 3; instruction_set was AVX2, is DEFAULT". Empty if no fact that both name differs.
std::string environment_changes(const ExecutionEnvironment& before, const ExecutionEnvironment& now);

}  // namespace leda::training
