#include "distributed/mpi/mpi_check.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <string>

#include "base/error.hpp"

namespace leda::distributed {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw base::Error(
      base::ExitCode::communication,
      {.what = fmt::format("{} failed", call),
       .value = std::string(text, static_cast<std::size_t>(length)),
       .why = "the ranks can no longer talk to each other",
       .remedy = "look for an earlier message of another rank or of the launcher; then check the network and start the "
                 "run again, it resumes from its last checkpoint"});
}

}  // namespace leda::distributed
