// A training step of stage 2's network on made-up images, with the parts that production uses: models/, the updater and
// its synchroniser. What tests/benchmarks/ddp_step.py does with PyTorch, number for number.
#pragma once

#include <cstdint>
#include <string>

#include "config/option_table.hpp"
#include "distributed/core/communicator.hpp"
#include "distributed/gradients/bucket_plan.hpp"

namespace leda::benchmark {

struct StepOptions {
  int channels = 96;
  std::int64_t size = 128;       // side of the images
  std::int64_t rank_batch = 1;   // images of one rank in a step
  std::int64_t num_steps = 8;    // the first of them is the first step of the process
  std::int64_t num_threads = 1;  // of each rank
  bool communication = true;     // off: every rank trains alone, beside the others
  std::string trace_folder;      // empty: none is written
  std::string result;            // JSON file, written by rank 0
  distributed::SynchronizerOptions distributed;
};

void bind_step_options(config::OptionTable& table, StepOptions& options);

// Collective. Writes step times, losses, each rank's peak memory, and when the first step ended, on the steady clock.
void run_step_benchmark(const StepOptions& options, distributed::Communicator& communicator);

}  // namespace leda::benchmark
