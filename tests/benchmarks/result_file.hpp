// What a benchmark found, as one JSON object for launch/benchmark.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::benchmark {

// One value of every rank, by rank. Collective.
std::vector<std::int64_t> gathered(distributed::Communicator& communicator, std::int64_t value);
// Rank 0 writes the text `json` into `path`, or to standard output where it is empty.
void write_result(const std::string& path, const distributed::Communicator& communicator, const std::string& json);

}  // namespace leda::benchmark
