// The communicator backends on which every collective must behave alike: one process, ranks as threads, and the MPI job
// that this test program runs in (one rank where it was started by itself). Suites instantiated over mpi_backends() are
// named Mpi*, and are the ones to run under mpirun.
#pragma once

#include <functional>
#include <ostream>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::test {

struct CommunicatorBackend {
  std::string name;
  std::function<void(const std::function<void(distributed::Communicator&)>&)> run;
  bool carries_large_tensors = true;  // false where messages are cut into tiny pieces
  // False where all duplicates share one order of collectives (NCCL: one stream).
  bool orders_duplicates_freely = true;
};

std::vector<CommunicatorBackend> local_backends();
std::vector<CommunicatorBackend> mpi_backends();

inline void PrintTo(const CommunicatorBackend& backend, std::ostream* stream) { *stream << backend.name; }

}  // namespace leda::test
