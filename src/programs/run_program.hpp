// What every program's main does around its own work: MPI, threads, signals, and the one catch of the project.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/exit_code.hpp"
#include "distributed/core/communicator.hpp"
#include "distributed/watch/hang_detector.hpp"
#include "logging/console.hpp"

namespace leda::programs {

// What the program itself does, on every rank; its value is the job's exit code.
using ProgramBody = std::function<base::ExitCode(const std::vector<std::string>& arguments,
                                                 distributed::Communicator& communicator, logging::Console& console)>;
// The same, of a program that has its ranks watched: it wraps the communicator and starts the watch once it knows how.
using WatchedProgramBody =
    std::function<base::ExitCode(const std::vector<std::string>& arguments, distributed::Communicator& communicator,
                                 logging::Console& console, distributed::HangDetector& hang_detector)>;

// Starts MPI (one rank without mpirun), runs `body`, and turns exceptions into one message and the exit code of the
// whole job: what every rank found by itself is said once, by rank 0; what one rank ran into carries its number, and
// the others are ended with it. A call of exit() from within, which would leave the others waiting, ends them too.
// Ends the process, once MPI has ended and what was printed is written.
[[noreturn]] void run_program(int argc, char** argv, const std::string& program_name, const ProgramBody& body);
[[noreturn]] void run_program(int argc, char** argv, const std::string& program_name, const WatchedProgramBody& body);

// Sets the threads of this rank's tensor operations; 0 = max(1, cores / ranks on this host), where ranks that are bound
// to cores of their own keep those. Returns their number. Collective.
int set_threads(std::int64_t wanted, distributed::Communicator& communicator);

}  // namespace leda::programs
