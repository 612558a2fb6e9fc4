#include "distributed/mpi/make_communicator.hpp"

#include "distributed/core/single_process_communicator.hpp"
#include "distributed/mpi/mpi_communicator.hpp"

namespace leda::distributed {

std::unique_ptr<Communicator> make_communicator(const MpiSession& session) {
  if (session.size() == 1) return std::make_unique<SingleProcessCommunicator>();
  return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD);
}

}  // namespace leda::distributed
