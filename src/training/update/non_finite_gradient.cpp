#include "training/update/non_finite_gradient.hpp"

#include <fmt/format.h>

namespace leda::training {

std::string SkippedUpdates::text() const {
  return first ? first->text() : fmt::format("the sum over ranks of finite gradients, step {}", first_step);
}

NonFiniteGradientError::NonFiniteGradientError(const SkippedUpdates& skipped)
    : base::ErrorOnAllRanks(base::ExitCode::non_finite,
                            {.what = "a gradient is not finite",
                             .value = skipped.text(),
                             .why = "one update with it would destroy the network on all ranks",
                             .remedy = "lower the learning rate or training.max_gradient_norm and start the run "
                                       "again, it resumes from its last checkpoint; check that rank's data; or set "
                                       "training.on_non_finite to skip or roll_back"}),
      step_(skipped.first_step) {}

NonFiniteGradientError::NonFiniteGradientError(const SkippedUpdates& skipped, std::int64_t num_in_a_row)
    : base::ErrorOnAllRanks(
          base::ExitCode::non_finite,
          {.what =
               fmt::format("{} updates in a row were skipped, a gradient was not finite in any of them", num_in_a_row),
           .value = skipped.text(),
           .why = "the run trains nothing any more (training.max_consecutive_skips)",
           .remedy = "lower the learning rate or training.max_gradient_norm and start the run again, it resumes from "
                     "its last checkpoint; check that rank's data; raise training.max_consecutive_skips (0 = no "
                     "limit) if the fault will pass"}),
      step_(skipped.first_step) {}

}  // namespace leda::training
