// Work that one rank does for all: rank 0 touches the disk, the others learn how it went. Nobody is left waiting.
#pragma once

#include <functional>
#include <string>

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

// Collective. Runs `work` on rank 0 and returns its text on every rank. What it throws is thrown on every rank, as an
// ErrorOnAllRanks (other exceptions than Error: storage for those of the file system, internal for the rest).
std::string on_rank_zero(distributed::Communicator& communicator, const std::function<std::string()>& work);

}  // namespace leda::distributed
