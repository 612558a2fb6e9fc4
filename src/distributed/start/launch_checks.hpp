// What is wrong with the way a job was started, found before it costs time. Each check is a pure function of the facts
// that the ranks gathered. docs/methods/faults.md
#pragma once

#include <string>
#include <vector>

#include "distributed/start/launch_facts.hpp"
#include "logging/console.hpp"

namespace leda::distributed {

enum class CheckResult { in_order, warning, refused };

struct LaunchCheck {
  std::string name;  // "devices"
  CheckResult result = CheckResult::in_order;
  std::string finding;  // with ranks and hosts, where something is wrong
  std::string why;
  std::string remedy;
};

// One entry per check, in the same order always: ranks, devices, program, run folder, clocks, threads, shared memory.
// `facts`: by rank, at least one.
std::vector<LaunchCheck> judge_launch(const std::vector<LaunchFacts>& facts);

// Gathers, judges, warns; ErrorOnAllRanks(communication) with all that is refused. With `prints_all` each check's
// result is printed, as a dry run does. Collective.
void check_launch(Communicator& communicator, const LaunchInputs& inputs, bool prints_all, logging::Console& console);

}  // namespace leda::distributed
