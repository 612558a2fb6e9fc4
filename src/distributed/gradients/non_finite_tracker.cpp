#include "distributed/gradients/non_finite_tracker.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/stack.h>
#include <c10/core/GradMode.h>

#include <limits>
#include <utility>

namespace leda::distributed {

NonFiniteTracker::NonFiniteTracker(std::vector<std::vector<at::Tensor>> gradients_of_bucket)
    : gradients_of_bucket_(std::move(gradients_of_bucket)) {
  for (const std::vector<at::Tensor>& gradients : gradients_of_bucket_) {
    const auto options = gradients.front().options().dtype(at::kLong).requires_grad(false);
    first_bad_steps_.push_back(at::full({static_cast<std::int64_t>(gradients.size())}, -1, options));
  }
}

void NonFiniteTracker::note(int bucket, std::int64_t step) {
  const c10::NoGradGuard no_gradients;
  const auto index = static_cast<std::size_t>(bucket);
  // The largest magnitude: unlike a sum of squares it is infinite only where an element is.
  const std::vector<at::Tensor> largest =
      at::_foreach_norm(gradients_of_bucket_[index], std::numeric_limits<double>::infinity());
  at::Tensor& first_bad = first_bad_steps_[index];
  first_bad.masked_fill_(at::isfinite(at::stack(largest)).logical_not_().logical_and_(first_bad < 0), step);
}

at::Tensor NonFiniteTracker::take() {
  const c10::NoGradGuard no_gradients;
  const at::Tensor steps = at::cat(first_bad_steps_).cpu();
  for (at::Tensor& first_bad : first_bad_steps_) first_bad.fill_(-1);
  return steps;
}

}  // namespace leda::distributed
