// How a save ended on one rank, as a text that ranks exchange, and what the texts of all of them say together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/background_save.hpp"

namespace leda::checkpoint {

// Waits for the save.
std::string outcome_text(BackgroundSave& save);

struct JointOutcome {
  SaveCost cost;                                 // rank 0's
  std::optional<base::ErrorOnAllRanks> failure;  // the first rank's that failed on its own account
};

// `texts` by rank: the same on every rank.
JointOutcome joint_outcome(const std::vector<std::string>& texts);

}  // namespace leda::checkpoint
