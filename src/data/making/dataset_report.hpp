// What a data set holds, and whether it is whole.
#pragma once

#include <functional>
#include <string>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

// Both ask `should_stop` between their pieces, as often on every rank and of one answer on all, and return false where
// it said so. Collective; the pixels are read by all ranks, rank 0 prints the table.
bool print_dataset_info(const std::string& folder, distributed::Communicator& communicator, logging::Console& console,
                        const std::function<bool()>& should_stop = {});
// Collective. Reads every stored byte; throws Error(data) that names the first damaged shard and slice.
bool verify_dataset(const std::string& folder, distributed::Communicator& communicator, logging::Console& console,
                    const std::function<bool()>& should_stop = {});

}  // namespace leda::data
