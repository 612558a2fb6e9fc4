// Ranks as threads of one process, for tests of whatever takes a Communicator. Sums are taken in rank order, so they
// are the same in every run. A rank that throws, or returns while others wait for it, ends the others' waits.
#pragma once

#include <functional>

#include "distributed/core/communicator.hpp"

namespace leda::test {

// Runs `body` on every rank and rethrows the first exception of a rank, if any.
void run_ranks(int num_ranks, const std::function<void(distributed::Communicator&)>& body);

}  // namespace leda::test
