#include "training/update/learning_rate_schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace leda::training {

double LearningRateSchedule::rate(std::int64_t step) const {
  if (step < num_warm_up_steps) {
    return base * static_cast<double>(step + 1) / static_cast<double>(num_warm_up_steps);
  }
  const double length = static_cast<double>(std::max<std::int64_t>(num_steps - num_warm_up_steps, 1));
  const double progress = std::min(1.0, static_cast<double>(step - num_warm_up_steps) / length);
  const double cosine = 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  return base * (final_fraction + (1.0 - final_fraction) * cosine);
}

}  // namespace leda::training
