// The worlds in which every collective must behave alike: one process, ranks as threads, and the MPI job that this test
// program runs in (one rank where it was started by itself). Suites instantiated over mpi_worlds() are named Mpi*, and
// are the ones to run under mpirun.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::test {

struct World {
  std::string name;
  std::function<void(const std::function<void(distributed::Communicator&)>&)> run;
  bool carries_large_tensors = true;  // false where messages are cut into tiny pieces
  // False where all duplicates share one order of collectives (NCCL: one stream).
  bool orders_duplicates_freely = true;
};

std::vector<World> local_worlds();
std::vector<World> mpi_worlds();

inline void PrintTo(const World& world, std::ostream* stream) { *stream << world.name; }

}  // namespace leda::test
