// Work of a program without checkpoints that a signal ends between two of its pieces.
#pragma once

#include <functional>
#include <string>

#include "base/exit_code.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::programs {

// Collective. `work` asks `should_stop` between its pieces, as often on every rank; it is of one answer on all. `work`
// returns whether it was done; where it was not, the line `said` is, and the value is the exit code of the signal.
base::ExitCode run_stoppable(const std::function<bool(const std::function<bool()>& should_stop)>& work,
                             const std::string& said, distributed::Communicator& communicator,
                             logging::Console& console);

}  // namespace leda::programs
