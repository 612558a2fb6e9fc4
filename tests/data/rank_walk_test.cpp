#include "data/shards/rank_walk.hpp"

#include <gtest/gtest.h>

#include <mutex>
#include <vector>

#include "tests/support/thread_ranks.hpp"

namespace leda::data {
namespace {

using Indices = std::vector<std::int64_t>;

// Who visited what, by rank; and after each round, how many all ranks had visited by then.
struct Walked {
  std::vector<Indices> visited;
  std::vector<Indices> after_rounds;
  std::vector<bool> is_whole;
};

// Every rank asks whether to stop; before round `stop_at` (from 0) the answer is yes.
Walked walk(int num_ranks, std::int64_t count, int stop_at = -1) {
  Walked walked{.visited = std::vector<Indices>(static_cast<std::size_t>(num_ranks)),
                .after_rounds = std::vector<Indices>(static_cast<std::size_t>(num_ranks)),
                .is_whole = std::vector<bool>(static_cast<std::size_t>(num_ranks))};
  std::mutex mutex;
  test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    int round = 0;
    const bool is_whole = walk_by_rank(
        count, communicator,
        {.should_stop = [&] { return round++ == stop_at; },
         .after_round = [&](std::int64_t num_visited) { walked.after_rounds[rank].push_back(num_visited); }},
        [&](std::int64_t index) { walked.visited[rank].push_back(index); });
    const std::scoped_lock lock(mutex);
    walked.is_whole[rank] = is_whole;
  });
  return walked;
}

TEST(RankWalk, EachIndexIsOneRanksAndRoundsAreTheSameOnAll) {
  const Walked three = walk(3, 7);
  EXPECT_EQ(three.visited, (std::vector<Indices>{{0, 3, 6}, {1, 4}, {2, 5}}));
  EXPECT_EQ(three.after_rounds, (std::vector<Indices>(3, {3, 6, 7})));
  EXPECT_EQ(three.is_whole, (std::vector<bool>{true, true, true}));
  EXPECT_EQ(walk(1, 3).visited, (std::vector<Indices>{{0, 1, 2}}));
  EXPECT_EQ(walk(3, 1).visited, (std::vector<Indices>{{0}, {}, {}}));
  EXPECT_EQ(walk(2, 0).after_rounds, (std::vector<Indices>{{}, {}}));
}

TEST(RankWalk, StopsBeforeTheSameRoundOnEveryRank) {
  const Walked stopped = walk(2, 6, 1);
  EXPECT_EQ(stopped.visited, (std::vector<Indices>{{0}, {1}}));
  EXPECT_EQ(stopped.after_rounds, (std::vector<Indices>(2, {2})));
  EXPECT_EQ(stopped.is_whole, (std::vector<bool>{false, false}));
  EXPECT_EQ(walk(2, 6, 0).visited, (std::vector<Indices>{{}, {}}));
  EXPECT_EQ(walk(2, 6, 3).is_whole, (std::vector<bool>{true, true})) << "asked before rounds, not after the last";
}

TEST(RankWalk, CallbacksMayBeLeftOut) {
  test::run_ranks(2, [](distributed::Communicator& communicator) {
    std::int64_t sum = 0;
    EXPECT_TRUE(walk_by_rank(4, communicator, {.activity = "test, slice"}, [&](std::int64_t index) { sum += index; }));
    EXPECT_EQ(sum, communicator.rank() == 0 ? 2 : 4);
  });
}

}  // namespace
}  // namespace leda::data
