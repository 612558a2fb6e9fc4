// What a data set holds, and whether it is whole.
#pragma once

#include <string>

#include "distributed/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

// Collective; the pixels are read by all ranks, rank 0 prints the table.
void print_dataset_info(const std::string& folder, distributed::Communicator& communicator, logging::Console& console);
// Collective. Reads every stored byte; throws Error(data) that names the first damaged shard and slice.
void verify_dataset(const std::string& folder, distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::data
