#include "distributed/make_communicator.hpp"

#include "distributed/mpi_communicator.hpp"
#include "distributed/single_process_communicator.hpp"

namespace leda::distributed {

std::unique_ptr<Communicator> make_communicator(const MpiSession& session) {
  if (session.size() == 1) return std::make_unique<SingleProcessCommunicator>();
  return std::make_unique<MpiCommunicator>(MPI_COMM_WORLD);
}

}  // namespace leda::distributed
