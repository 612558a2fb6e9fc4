#include "data/shards/rank_walk.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace leda::data {

bool walk_by_rank(std::int64_t count, distributed::Communicator& communicator, const RankWalk& walk,
                  const std::function<void(std::int64_t index)>& visit) {
  for (std::int64_t first = 0; first < count; first += communicator.size()) {
    if (walk.should_stop && walk.should_stop()) return false;
    const std::int64_t index = first + communicator.rank();
    if (index < count) {
      if (!walk.activity.empty()) communicator.note(fmt::format("{} {}", walk.activity, index));
      visit(index);
    }
    if (walk.after_round) walk.after_round(std::min(count, first + communicator.size()));
  }
  return true;
}

}  // namespace leda::data
