// What every program's main does around its own work: MPI, threads, signals, and the one catch of the project.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/exit_code.hpp"
#include "distributed/communicator.hpp"

namespace leda::programs {

// What the program itself does, on every rank; its value is the job's exit code.
using ProgramBody = std::function<base::ExitCode(distributed::Communicator&, const std::vector<std::string>& arguments)>;

// Starts MPI (a communicator of one rank without mpirun), runs `body`, turns exceptions into one message and the exit
// code of the whole job: where one rank fails, its message carries its number and the others are ended with it.
int run_program(int argc, char** argv, const std::string& program_name, const ProgramBody& body);

}  // namespace leda::programs
