#include "training/update/learning_rate_schedule.hpp"

#include <gtest/gtest.h>

namespace leda::training {
namespace {

TEST(LearningRateSchedule, IsConstantUnlessTold) {
  const LearningRateSchedule schedule{.base = 3e-4, .num_steps = 1000};
  for (const std::int64_t step : {0, 1, 500, 999, 1000, 5000}) EXPECT_DOUBLE_EQ(schedule.rate(step), 3e-4) << step;
}

TEST(LearningRateSchedule, WarmsUpInEqualStepsToTheBaseRate) {
  const LearningRateSchedule schedule{.base = 0.8, .num_steps = 100, .num_warm_up_steps = 4};
  EXPECT_DOUBLE_EQ(schedule.rate(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.rate(1), 0.4);
  EXPECT_DOUBLE_EQ(schedule.rate(2), 0.6);
  EXPECT_DOUBLE_EQ(schedule.rate(3), 0.8);
  EXPECT_DOUBLE_EQ(schedule.rate(4), 0.8);
  EXPECT_DOUBLE_EQ(schedule.rate(99), 0.8);
}

// cos(pi/3) = 1/2, cos(pi/2) = 0, cos(2 pi/3) = -1/2.
TEST(LearningRateSchedule, FollowsHalfACosineAfterTheWarmUp) {
  const LearningRateSchedule schedule{.base = 2.0, .num_steps = 70, .num_warm_up_steps = 10, .final_fraction = 0.1};
  EXPECT_DOUBLE_EQ(schedule.rate(9), 2.0);
  EXPECT_DOUBLE_EQ(schedule.rate(10), 2.0);
  EXPECT_NEAR(schedule.rate(30), 2.0 * (0.1 + 0.9 * 0.75), 1e-12);
  EXPECT_NEAR(schedule.rate(40), 2.0 * (0.1 + 0.9 * 0.50), 1e-12);
  EXPECT_NEAR(schedule.rate(50), 2.0 * (0.1 + 0.9 * 0.25), 1e-12);
  EXPECT_NEAR(schedule.rate(70), 0.2, 1e-12);
}

TEST(LearningRateSchedule, StaysAtTheFinalRateBeyondItsLength) {
  const LearningRateSchedule schedule{.base = 1.0, .num_steps = 50, .final_fraction = 0.02};
  EXPECT_DOUBLE_EQ(schedule.rate(0), 1.0);
  EXPECT_NEAR(schedule.rate(50), 0.02, 1e-12);
  EXPECT_NEAR(schedule.rate(5000), 0.02, 1e-12);
}

TEST(LearningRateSchedule, AWarmUpLongerThanTheRunStillRises) {
  const LearningRateSchedule schedule{.base = 1.0, .num_steps = 5, .num_warm_up_steps = 10, .final_fraction = 0.0};
  EXPECT_DOUBLE_EQ(schedule.rate(4), 0.5);
}

}  // namespace
}  // namespace leda::training
