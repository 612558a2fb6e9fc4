#include "training/loop/checkpoint_interval.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/keyed_random.hpp"

namespace leda::training {
namespace {

// Time per second of progress of a run that saves after every `interval` of work and loses what is unsaved in failures
// that come at exponentially distributed times: played out, failure by failure.
double simulated_slowness(double interval, double cost, double between_failures, std::int64_t num_saves) {
  base::KeyedRandom random({base::key_of("failures"), 7});
  const auto until_failure = [&] { return -between_failures * std::log1p(-random.uniform()); };
  double elapsed = 0.0;
  double next_failure = until_failure();
  for (std::int64_t saved = 0; saved < num_saves;) {
    const double end = elapsed + interval + cost;
    if (next_failure < end) {
      elapsed = next_failure;  // from here again
      next_failure += until_failure();
    } else {
      elapsed = end;
      ++saved;
    }
  }
  return elapsed / (interval * static_cast<double>(num_saves));
}

// Exact for that model: a stretch of t takes M (e^(t / M) - 1) with its repetitions.
double expected_slowness(double interval, double cost, double between_failures) {
  return between_failures * std::expm1((interval + cost) / between_failures) / interval;
}

// The interval with the least slowness, by trying many.
template <typename Slowness>
double best_by_trial(double guess, const Slowness& slowness) {
  double best = guess;
  double least = slowness(guess);
  for (double interval = guess / 4.0; interval < 4.0 * guess; interval *= 1.01) {
    const double found = slowness(interval);
    if (found < least) {
      least = found;
      best = interval;
    }
  }
  return best;
}

TEST(CheckpointInterval, TheSimulationIsThatOfTheModel) {
  for (const double interval : {20.0, 100.0, 400.0}) {
    const double expected = expected_slowness(interval, 5.0, 1000.0);
    EXPECT_NEAR(simulated_slowness(interval, 5.0, 1000.0, 200000) - 1.0, expected - 1.0, 0.02 * (expected - 1.0));
  }
}

TEST(CheckpointInterval, DalysIsTheBestOfAllTriedInTheModel) {
  for (const double cost : {0.01, 1.0, 10.0, 100.0, 300.0}) {
    const double daly = daly_interval_seconds(cost, 1000.0);
    const double best = best_by_trial(daly, [&](double interval) { return expected_slowness(interval, cost, 1000.0); });
    EXPECT_NEAR(daly, best, 0.03 * best) << cost;
  }
}

// A fit through simulated runs, since the least of a few noisy numbers says little: slowness = a / interval + b
// interval
// + c has its least at sqrt(a / b).
TEST(CheckpointInterval, SimulatedRunsAreFastestAtDalysInterval) {
  constexpr double kCost = 2.0;
  constexpr double kBetweenFailures = 5000.0;
  const double daly = daly_interval_seconds(kCost, kBetweenFailures);
  const double step = 1.5;
  const auto slowness = [&](double interval) {
    // The same work for each, a thousand times the time between failures.
    const auto num_saves = static_cast<std::int64_t>(2000.0 * kBetweenFailures / interval);
    return simulated_slowness(interval, kCost, kBetweenFailures, num_saves);
  };
  const double shorter = slowness(daly / step);
  const double there = slowness(daly);
  const double longer = slowness(daly * step);
  // Solved for x = interval / Daly's at 1/1.5, 1 and 1.5.
  const double p = shorter - there;  // a (s - 1) + b (1/s - 1)
  const double q = longer - there;   // a (1/s - 1) + b (s - 1)
  const double u = step - 1.0;
  const double v = 1.0 / step - 1.0;
  const double a = (p * u - q * v) / (u * u - v * v);
  const double b = (q * u - p * v) / (u * u - v * v);
  ASSERT_GT(a, 0.0);
  ASSERT_GT(b, 0.0);
  EXPECT_NEAR(std::sqrt(a / b), 1.0, 0.05);
}

TEST(CheckpointInterval, WhereSavesAreCheapDalysIsYoungs) {
  EXPECT_DOUBLE_EQ(young_interval_seconds(2.0, 400.0), 40.0);
  EXPECT_NEAR(daly_interval_seconds(1e-3, 86400.0), young_interval_seconds(1e-3, 86400.0), 2e-3);
  // Costly ones: Young's is too long, and Daly's rule beyond its series.
  EXPECT_LT(expected_slowness(daly_interval_seconds(300.0, 1000.0), 300.0, 1000.0),
            expected_slowness(young_interval_seconds(300.0, 1000.0), 300.0, 1000.0));
  EXPECT_DOUBLE_EQ(daly_interval_seconds(2500.0, 1000.0), 1000.0);
}

TEST(CheckpointInterval, FailuresSeenOutweighThePriorWithTime) {
  EXPECT_DOUBLE_EQ(seconds_between_failures({}, 0.0), 86400.0);
  logging::AttemptAccount killed;
  killed.end = 3600.0;
  killed.has_trained = true;
  logging::AttemptAccount preempted = killed;
  preempted.exit_code = 85;
  EXPECT_DOUBLE_EQ(seconds_between_failures({killed, preempted}, 1800.0), (86400.0 + 2 * 3600.0 + 1800.0) / 2.0);
  const std::vector<logging::AttemptAccount> many(200, killed);
  EXPECT_NEAR(seconds_between_failures(many, 0.0), 3600.0, 0.15 * 3600.0);
}

TEST(CheckpointInterval, TheWriterHasTimeForOneBeforeTheNext) {
  EXPECT_DOUBLE_EQ(best_interval_seconds({.pause_seconds = 0.5, .background_seconds = 900.0}, 86400.0), 900.0);
  EXPECT_DOUBLE_EQ(best_interval_seconds({.pause_seconds = 0.5, .slow_down_seconds = 1.5}, 86400.0),
                   daly_interval_seconds(2.0, 86400.0));
  EXPECT_GT(best_interval_seconds({}, 86400.0), 0.0);
}

}  // namespace
}  // namespace leda::training
