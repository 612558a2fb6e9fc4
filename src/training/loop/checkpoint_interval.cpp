#include "training/loop/checkpoint_interval.hpp"

#include <algorithm>
#include <cmath>

namespace leda::training {
namespace {

constexpr double kPriorSeconds = 86400.0;
constexpr double kPriorFailures = 1.0;
// A clock's resolution and more: a save that seems to cost nothing is not worth saving at every step.
constexpr double kSmallestCostSeconds = 1e-4;

}  // namespace

double young_interval_seconds(double cost_seconds, double seconds_between_failures) {
  return std::sqrt(2.0 * cost_seconds * seconds_between_failures);
}

double daly_interval_seconds(double cost_seconds, double seconds_between_failures) {
  if (cost_seconds >= 2.0 * seconds_between_failures) return seconds_between_failures;
  const double ratio = cost_seconds / (2.0 * seconds_between_failures);
  return young_interval_seconds(cost_seconds, seconds_between_failures) * (1.0 + std::sqrt(ratio) / 3.0 + ratio / 9.0) -
         cost_seconds;
}

double seconds_between_failures(const std::vector<logging::AttemptAccount>& history, double elapsed_seconds) {
  double seconds = kPriorSeconds + elapsed_seconds;
  for (const logging::AttemptAccount& attempt : history) seconds += attempt.allocated_seconds();
  return seconds / (kPriorFailures + static_cast<double>(logging::num_failures(history)));
}

double best_interval_seconds(const SaveFigures& figures, double seconds_between_failures) {
  const double cost = std::max(kSmallestCostSeconds, figures.pause_seconds + figures.slow_down_seconds);
  return std::max(daly_interval_seconds(cost, seconds_between_failures), figures.background_seconds);
}

}  // namespace leda::training
