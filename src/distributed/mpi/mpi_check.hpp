// MPI's return codes as exceptions. For the files of this folder that include mpi.h.
#pragma once

namespace leda::distributed {

// Error(communication) with MPI's own text unless `code` is MPI_SUCCESS. `call` names what was tried.
void check_mpi(int code, const char* call);

}  // namespace leda::distributed
