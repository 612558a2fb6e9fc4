#include "training/options/time_limit.hpp"

#include <gtest/gtest.h>

namespace leda::training {
namespace {

class TimeLimitTest : public testing::Test {
 protected:
  std::function<double()> clock() {
    return [this] { return now_; };
  }
  double now_ = 1000.0;
};

TEST_F(TimeLimitTest, WithoutALimitItIsNeverNear) {
  TimeLimit limit({}, clock());
  limit.note_progress(1.0);
  now_ += 1e9;
  EXPECT_FALSE(limit.is_near());
}

TEST_F(TimeLimitTest, ItIsNearWhileThereIsStillTimeForTheCostliestCheckpointAndTwoSteps) {
  TimeLimit limit({.max_seconds = 100.0}, clock());
  limit.note_progress(2.0);
  limit.note_save(10.0);
  limit.note_save(4.0);  // one cheap save does not make the next one cheap
  EXPECT_DOUBLE_EQ(limit.seconds_to_leave(), 8.0 + 2.0 * 2.0);
  now_ = 1087.9;
  EXPECT_FALSE(limit.is_near());
  now_ = 1088.1;
  EXPECT_TRUE(limit.is_near());
}

TEST_F(TimeLimitTest, TheMarginIsKeptFreeBeforeTheNodesAreTakenAwayOnly) {
  TimeLimit nodes({.end_of_nodes = 1100.0, .margin_seconds = 30.0}, clock());
  TimeLimit own({.max_seconds = 100.0, .margin_seconds = 30.0}, clock());
  for (TimeLimit* limit : {&nodes, &own}) limit->note_progress(0.5);
  now_ = 1069.5;
  EXPECT_TRUE(nodes.is_near());
  EXPECT_FALSE(own.is_near());
  now_ = 1068.5;
  EXPECT_FALSE(nodes.is_near());
}

TEST_F(TimeLimitTest, EveryStartMakesAtLeastOneStep) {
  TimeLimit limit({.max_seconds = 0.001, .end_of_nodes = 900.0, .margin_seconds = 30.0}, clock());
  now_ += 50.0;
  EXPECT_FALSE(limit.is_near());
  limit.note_progress(1.0);
  EXPECT_TRUE(limit.is_near());
}

}  // namespace
}  // namespace leda::training
