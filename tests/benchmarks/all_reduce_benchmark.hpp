// One large sum over ranks, through the project's communicator and by plain MPI_Allreduce, in turns.
#pragma once

#include <cstdint>
#include <string>

#include "config/option_table.hpp"
#include "distributed/core/communicator.hpp"

namespace leda::benchmark {

struct AllReduceOptions {
  std::int64_t num_elements = std::int64_t{16} << 20;  // float32
  std::int64_t num_repeats = 15;
  std::string result;  // JSON file, written by rank 0
};

void bind_all_reduce_options(config::OptionTable& table, AllReduceOptions& options);

// Collective. Writes the seconds of each repeat of both.
void run_all_reduce_benchmark(const AllReduceOptions& options, distributed::Communicator& communicator);

}  // namespace leda::benchmark
