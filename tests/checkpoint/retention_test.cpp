#include <gtest/gtest.h>

#include "checkpoint/checkpoint_listing.hpp"

namespace leda::checkpoint {
namespace {

using Steps = std::set<std::int64_t>;

TEST(Retention, TheLastFewStay) {
  EXPECT_EQ(steps_to_remove({1, 2, 3, 4, 5}, 5, {.keep_last = 2}), (Steps{1, 2, 3}));
  EXPECT_EQ(steps_to_remove({1, 2}, 2, {.keep_last = 3}), Steps{});
}

TEST(Retention, TheBestStays) { EXPECT_EQ(steps_to_remove({1, 2, 3}, 3, {.keep_last = 1, .best = 2}), Steps{1}); }

TEST(Retention, EveryNthStaysForEver) {
  EXPECT_EQ(steps_to_remove({10, 15, 20, 25, 30, 35, 40}, 40, {.keep_last = 1, .keep_every = 20}),
            (Steps{10, 15, 25, 30, 35}));
}

TEST(Retention, DamagedOnesNeitherCountNorStay) {
  EXPECT_EQ(steps_to_remove({10, 20, 30, 40}, 40, {.keep_last = 2, .keep_every = 10, .damaged = {30}}), Steps{30});
}

TEST(Retention, LaterStepsAreNotTouched) { EXPECT_EQ(steps_to_remove({1, 2, 9}, 2, {.keep_last = 1}), Steps{1}); }

}  // namespace
}  // namespace leda::checkpoint
