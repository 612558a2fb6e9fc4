// The learning rate of a step: linear warm-up, then half a cosine down to a fraction of the base rate.
#pragma once

#include <cstdint>

namespace leda::training {

struct LearningRateSchedule {
  double base = 1.0e-3;
  std::int64_t num_steps = 1000;       // length of the whole run
  std::int64_t num_warm_up_steps = 0;  // rate(s) = base (s + 1) / num_warm_up_steps during these
  double final_fraction = 1.0;         // rate at the end relative to base; 1 = constant

  // Rate of the update that step `step` (from 0) makes.
  double rate(std::int64_t step) const;
};

}  // namespace leda::training
