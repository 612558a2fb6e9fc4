// distributed_benchmark step|all_reduce|checkpoint OPTIONS: what launch/benchmark measures of the project, one process
// a rank.
#include <fmt/format.h>

#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/option_table.hpp"
#include "programs/run_program.hpp"
#include "tests/benchmarks/all_reduce_benchmark.hpp"
#include "tests/benchmarks/checkpoint_benchmark.hpp"
#include "tests/benchmarks/step_benchmark.hpp"

namespace {

using leda::base::ExitCode;

ExitCode measure(const std::vector<std::string>& arguments, leda::distributed::Communicator& communicator,
                 leda::logging::Console& console) {
  const std::string command = arguments.empty() ? "" : arguments.front();
  const std::vector<std::string> rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  leda::config::OptionTable table;
  if (command == "step") {
    leda::benchmark::StepOptions options;
    leda::benchmark::bind_step_options(table, options);
    table.parse_arguments(rest);
    leda::benchmark::run_step_benchmark(options, communicator);
  } else if (command == "all_reduce") {
    leda::benchmark::AllReduceOptions options;
    leda::benchmark::bind_all_reduce_options(table, options);
    table.parse_arguments(rest);
    leda::benchmark::run_all_reduce_benchmark(options, communicator);
  } else if (command == "checkpoint") {
    leda::benchmark::CheckpointBenchmarkOptions options;
    leda::benchmark::bind_checkpoint_options(table, options);
    table.parse_arguments(rest);
    leda::benchmark::run_checkpoint_benchmark(options, communicator, console);
  } else {
    throw leda::base::ErrorOnAllRanks(ExitCode::options, {.what = "unknown command of distributed_benchmark",
                                                          .value = command,
                                                          .why = "",
                                                          .remedy = "step, all_reduce or checkpoint"});
  }
  return ExitCode::finished;
}

}  // namespace

int main(int argc, char** argv) { leda::programs::run_program(argc, argv, "distributed_benchmark", measure); }
