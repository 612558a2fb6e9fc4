// The communicator that fits the job: MPI between several ranks, nothing at all for one.
#pragma once

#include <memory>

#include "distributed/core/communicator.hpp"
#include "distributed/mpi/mpi_session.hpp"

namespace leda::distributed {

// Must be destroyed before the session. Collective.
std::unique_ptr<Communicator> make_communicator(const MpiSession& session);

}  // namespace leda::distributed
