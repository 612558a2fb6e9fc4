#include "training/loop/checkpoint_schedule.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

class CheckpointScheduleTest : public testing::Test {
 protected:
  static LoopOptions options(CheckpointInterval interval) {
    LoopOptions options;
    options.checkpoint_schedule.interval = interval;
    options.checkpoint_schedule.every_num_steps = 30;
    options.logging.every_num_steps = 10;
    return options;
  }
  static checkpoint::SaveCost cost(double pause) { return {.pause_seconds = pause, .write_seconds = 5.0}; }
  std::unique_ptr<std::FILE, CloseFile> quiet_{std::tmpfile()};
};

TEST_F(CheckpointScheduleTest, InStepsItIsTheSameStepsAfterEveryResume) {
  CheckpointSchedule schedule("stage", options(CheckpointInterval::steps), nullptr);
  schedule.note_saved(17);
  EXPECT_FALSE(schedule.is_due(29));
  EXPECT_TRUE(schedule.is_due(30));
  EXPECT_TRUE(schedule.is_due(60));
}

TEST_F(CheckpointScheduleTest, AutomaticItMeasuresFirstAndThenAllRanksDoWhatRankZeroMeasured) {
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    logging::Console console(communicator.rank(), quiet_.get(), quiet_.get());
    CheckpointSchedule schedule("stage", options(CheckpointInterval::automatic), nullptr);
    schedule.note_saved(7);
    EXPECT_FALSE(schedule.is_due(16));
    EXPECT_TRUE(schedule.is_due(17)) << "until something is measured, at logging steps' distance";
    // The others' clocks say something else.
    const double step_seconds = communicator.rank() == 0 ? 2.0 : 7.0;
    schedule.note_step(500.0, false);  // warms up
    for (int i = 0; i < 8; ++i) schedule.note_step(step_seconds, false);
    schedule.choose({}, communicator, console);
    EXPECT_TRUE(schedule.is_due(17));
    // Two steps beside a writer took 1 s longer each: that is part of what a save costs.
    for (int i = 0; i < 2; ++i) schedule.note_step(step_seconds + 1.0, true);
    schedule.choose({cost(9.0), cost(3.0), cost(1.0)}, communicator, console);
    const auto expected = std::llround(daly_interval_seconds(3.0 + 2.0, 86400.0) / 2.0);
    EXPECT_FALSE(schedule.is_due(7 + expected - 1));
    EXPECT_TRUE(schedule.is_due(7 + expected));
  });
}

}  // namespace
}  // namespace leda::training
