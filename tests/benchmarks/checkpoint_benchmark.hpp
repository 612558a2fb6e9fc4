// A checkpoint saved and loaded by the store, and the same bytes written and read plainly in the same folder, in turns.
#pragma once

#include <cstdint>
#include <string>

#include "config/option_table.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::benchmark {

struct CheckpointBenchmarkOptions {
  std::string folder;                                     // for all files; emptied of what was written there
  std::int64_t num_bytes = std::int64_t{256} << 20;       // of the state: a third networks, the rest optimisers
  std::int64_t num_tensors = 48;                          // of one third
  std::int64_t num_repeats = 3;                           // after one that is not counted
  std::uint64_t max_file_bytes = std::uint64_t{1} << 30;  // as checkpoint.max_file_bytes
  std::string result;                                     // JSON file, written by rank 0
};

void bind_checkpoint_options(config::OptionTable& table, CheckpointBenchmarkOptions& options);

// Collective. Writes the seconds of each repeat: plain write to the last fsync and plain read, by rank 0 alone; save
// (pause, write, read-back) and load. Files are read from the disk, as far as the system can be persuaded to.
void run_checkpoint_benchmark(const CheckpointBenchmarkOptions& options, distributed::Communicator& communicator,
                              logging::Console& console);

}  // namespace leda::benchmark
