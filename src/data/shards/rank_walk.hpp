// The walk over the slices (or shards) of a data set that is shared out over the ranks: every size-th is a rank's own,
// in rounds, so that all ranks ask the same question as often.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "distributed/core/communicator.hpp"

namespace leda::data {

struct RankWalk {
  // What a rank notes before each, "validation, slice" say, so that it is not taken for a silent one; empty: nothing.
  std::string activity{};
  // Asked before each round, as often on every rank, and of one answer on all: true = leave the walk. May be empty.
  std::function<bool()> should_stop{};
  // Called after each round on every rank, with how many all ranks have visited. May be collective. May be empty.
  std::function<void(std::int64_t num_visited)> after_round{};
};

// Calls `visit` for those of 0 .. count - 1 that are this rank's. Returns whether all were visited. Collective where
// the callbacks are.
bool walk_by_rank(std::int64_t count, distributed::Communicator& communicator, const RankWalk& walk,
                  const std::function<void(std::int64_t index)>& visit);

}  // namespace leda::data
