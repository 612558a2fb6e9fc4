// What training does about a gradient that is not finite (training.on_non_finite): stop, skip the update, or roll back
// to the last checkpoint. An update with such a gradient is never made, on any rank. A run that skips on and on trains
// nothing: training.max_consecutive_skips ends it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "distributed/gradients/gradient_synchronizer.hpp"

namespace leda::training {

// Updates that were not made. `first` is empty where every rank's gradients were finite and only their sum was not.
struct SkippedUpdates {
  std::int64_t count = 0;
  std::int64_t first_step = 0;
  std::optional<distributed::NonFiniteGradient> first;

  std::string text() const;  // rank 1, parameter x, step 41
};

// The same on every rank, which all throw it at the same moment.
class NonFiniteGradientError : public base::ErrorOnAllRanks {
 public:
  explicit NonFiniteGradientError(const SkippedUpdates& skipped);
  // More updates than training.max_consecutive_skips allows were skipped, one after the other.
  NonFiniteGradientError(const SkippedUpdates& skipped, std::int64_t num_in_a_row);
  // The first step whose update was not made.
  std::int64_t step() const { return step_; }

 private:
  std::int64_t step_;
};

}  // namespace leda::training
