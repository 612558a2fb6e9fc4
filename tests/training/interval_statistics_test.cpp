#include "training/loop/interval_statistics.hpp"

#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <chrono>
#include <limits>
#include <map>
#include <string>
#include <thread>

#include "distributed/core/single_process_communicator.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

LossReport report(double loss, double skipped) {
  return {{"loss", at::full({}, loss, at::kDouble)}, {kSkippedUpdates, at::full({}, skipped, at::kDouble)}};
}

std::map<std::string, double> by_name(const std::vector<logging::Scalar>& scalars) {
  std::map<std::string, double> values;
  for (const logging::Scalar& scalar : scalars) values[scalar.name] = scalar.value;
  return values;
}

TEST(IntervalStatistics, MeansAreOverStepsAndLeaveSkippedUpdatesOut) {
  distributed::SingleProcessCommunicator alone;
  IntervalStatistics statistics(alone, nullptr);
  statistics.begin(0.0);
  EXPECT_FALSE(statistics.has_reports());
  statistics.add_report(report(2.0, 0.0));
  statistics.add_report(report(std::numeric_limits<double>::quiet_NaN(), 1.0));
  statistics.add_report(report(5.0, 0.0));
  EXPECT_TRUE(statistics.has_reports());
  EXPECT_EQ(by_name(statistics.means()), (std::map<std::string, double>{{"loss", 3.5}, {kSkippedUpdates, 1.0}}));
}

TEST(IntervalStatistics, WhereNoUpdateWasMadeThereIsNothingButTheirNumber) {
  distributed::SingleProcessCommunicator alone;
  IntervalStatistics statistics(alone, nullptr);
  statistics.begin(0.0);
  statistics.add_report(report(1.0, 1.0));
  EXPECT_EQ(by_name(statistics.means()), (std::map<std::string, double>{{kSkippedUpdates, 1.0}}));
}

// Each rank has its samples' parts of the sum, zeros elsewhere.
TEST(IntervalStatistics, PartsOfAllRanksAndSamplesAddUp) {
  test::run_ranks(2, [](distributed::Communicator& communicator) {
    IntervalStatistics statistics(communicator, nullptr);
    statistics.begin(0.0);
    const bool is_first = communicator.rank() == 0;
    statistics.add_report({{"loss", at::tensor({is_first ? 1.0 : 0.0, is_first ? 0.0 : 2.0}, at::kDouble)},
                           {kSkippedUpdates, at::tensor({0.0, 0.0}, at::kDouble)}});
    EXPECT_EQ(by_name(statistics.means()).at("loss"), 3.0);
  });
}

TEST(IntervalStatistics, WaitsAreSharesOfTheTimeOfSteps) {
  distributed::SingleProcessCommunicator alone;
  IntervalStatistics statistics(alone, nullptr);
  statistics.begin(10.0);
  {
    const IntervalStatistics::StepTime time(statistics);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_GE(statistics.step_seconds(), 0.02);
  // What the prefetcher had waited before the interval is not of it.
  EXPECT_DOUBLE_EQ(statistics.wait_shares(10.0 + 0.5 * statistics.step_seconds()).data, 0.5);
  EXPECT_EQ(statistics.wait_shares(10.0).exposed_communication, 0.0);
}

TEST(IntervalStatistics, BeginsAfresh) {
  distributed::SingleProcessCommunicator alone;
  IntervalStatistics statistics(alone, nullptr);
  statistics.begin(0.0);
  statistics.add_images(8);
  statistics.add_report(report(2.0, 0.0));
  EXPECT_GT(statistics.images_per_second(), 0.0);
  statistics.begin(3.0);
  EXPECT_FALSE(statistics.has_reports());
  EXPECT_EQ(statistics.images_per_second(), 0.0);
  EXPECT_EQ(statistics.step_seconds(), 0.0);
}

}  // namespace
}  // namespace leda::training
