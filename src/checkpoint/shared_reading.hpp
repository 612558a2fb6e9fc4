// One checkpoint, read and verified by every rank from the disk by itself: the ranks of a host share its page cache,
// and nothing large is sent. What is there is what rank 0 found; a rank that found anything else is given rank 0's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "checkpoint/checkpoint_content.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::checkpoint {

// The same on every rank.
struct SharedReading {
  std::optional<LoadedCheckpoint> checkpoint;          // nullopt: refused by all
  std::string reason;                                  // why it was refused
  std::optional<base::ErrorOnAllRanks> foreign_error;  // of another run: what to say where there is no other
};

// Collective. `folder` of the checkpoint of `step`, the same on every rank. A rank that cannot read it, or reads
// another one, is warned about. ErrorOnAllRanks: data for a newer format version, and what else rank 0 could not do.
SharedReading read_on_all_ranks(const std::filesystem::path& folder, std::int64_t step, const std::string& run_identity,
                                distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::checkpoint
