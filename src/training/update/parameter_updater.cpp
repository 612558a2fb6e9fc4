#include "training/update/parameter_updater.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/maximum.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <utility>

#include "base/clock.hpp"

namespace leda::training {
namespace {

std::vector<distributed::NamedParameter> as_synchronised(const std::vector<models::NamedTensor>& parameters) {
  std::vector<distributed::NamedParameter> named;
  for (const models::NamedTensor& parameter : parameters) named.push_back({parameter.name, parameter.tensor});
  return named;
}

}  // namespace

distributed::BucketPlan plan_for(const std::vector<models::NamedTensor>& parameters,
                                 const distributed::SynchronizerOptions& options) {
  return distributed::plan_buckets(as_synchronised(parameters), options);
}

UpdateOptions update_options_of(const TrainingOptions& training, const distributed::SynchronizerOptions& synchronizer,
                                const AdamOptions& adam) {
  return {adam, training.max_gradient_norm, training.on_non_finite, training.max_consecutive_skips, synchronizer};
}

ParameterUpdater::ParameterUpdater(const std::vector<models::NamedTensor>& parameters, const UpdateOptions& options,
                                   distributed::BucketPlan plan, distributed::Communicator& communicator,
                                   logging::Trace* trace)
    : max_gradient_norm_(options.max_gradient_norm),
      skips_(options.on_non_finite == NonFiniteReaction::skip),
      max_consecutive_skips_(options.max_consecutive_skips),
      trace_(trace),
      synchronizer_(as_synchronised(parameters), std::move(plan), communicator, options.synchronizer, trace),
      adam_(parameters, options.adam) {
  if (!synchronizer_.checks_before_sum()) {
    skipped_on_device_ = at::zeros({4}, parameters.front().tensor.options().dtype(at::kLong).requires_grad(false));
  }
}

void ParameterUpdater::begin_step(std::int64_t step, int num_micro_batches, std::int64_t num_samples) {
  step_ = step;
  synchronizer_.begin_step(step, num_micro_batches, num_samples);
  forward_begin_ = base::steady_seconds();
}

void ParameterUpdater::accumulate(const at::Tensor& loss, bool is_last_micro_batch) {
  const double begin = base::steady_seconds();
  if (trace_ != nullptr) trace_->add_span("forward", forward_begin_, begin, {{"step", step_}});
  {
    const logging::Span backward(trace_, "backward", step_);
    synchronizer_.begin_micro_batch(is_last_micro_batch);
    torch::autograd::backward({loss}, {});
  }
  forward_begin_ = base::steady_seconds();
}

Update ParameterUpdater::update(double learning_rate) {
  synchronizer_.finish();
  const logging::Span optimiser(trace_, "optimiser", step_);
  const at::NoGradGuard no_grad;
  const at::Tensor norm = synchronizer_.squared_norm().sqrt();
  return synchronizer_.checks_before_sum() ? update_unless_found(learning_rate, norm)
                                           : update_on_device(learning_rate, norm);
}

void ParameterUpdater::clip(const at::Tensor& norm) {
  if (max_gradient_norm_ <= 0.0) return;
  // On the device: no wait for the norm's value. min(1, maximum / norm) as clip_grad_norm_ does.
  const at::Tensor scale = (max_gradient_norm_ / (norm + 1e-6)).clamp_max(1.0);
  for (const at::Tensor& flat : synchronizer_.flat_gradients()) flat.mul_(scale.to(flat.scalar_type()));
}

Update ParameterUpdater::update_unless_found(double learning_rate, const at::Tensor& norm) {
  const std::optional<distributed::NonFiniteGradient>& found = synchronizer_.non_finite();
  const at::Tensor is_skipped = at::zeros({}, norm.options().dtype(at::kFloat));
  // Finite gradients may still have an infinite sum.
  if (!found && std::isfinite(norm.item<double>())) {
    clip(norm);
    adam_.step(learning_rate);
    num_in_a_row_ = 0;
    return {norm, is_skipped};
  }
  if (skipped_.count++ == 0) {
    skipped_.first_step = step_;
    skipped_.first = found;
  }
  throw_unless_skipping(skipped_);
  throw_at_limit(skipped_, ++num_in_a_row_);
  return {norm, is_skipped.fill_(1.0)};
}

Update ParameterUpdater::update_on_device(double learning_rate, const at::Tensor& norm) {
  // A NaN or an infinity of any rank is in the sum, and so in its norm.
  const at::Tensor is_bad = at::isfinite(norm).logical_not();
  const at::Tensor is_skipped = is_bad.to(at::kFloat);
  const at::Tensor count = skipped_on_device_.select(0, 0);
  skipped_on_device_.select(0, 1).masked_fill_(is_bad.logical_and(count == 0), step_);
  count.add_(is_bad);
  const at::Tensor in_a_row = skipped_on_device_.select(0, 2);
  in_a_row.add_(1).mul_(is_bad);
  const at::Tensor most_in_a_row = skipped_on_device_.select(0, 3);
  most_in_a_row.copy_(at::maximum(most_in_a_row, in_a_row));
  clip(norm);
  adam_.step(learning_rate, is_skipped);
  return {norm, is_skipped};
}

std::optional<SkippedUpdates> ParameterUpdater::collect_skipped_updates() {
  SkippedUpdates skipped = std::exchange(skipped_, {});
  std::int64_t most_in_a_row = 0;
  if (!synchronizer_.checks_before_sum()) {
    skipped.first = synchronizer_.take_non_finite();
    const at::Tensor counts = skipped_on_device_.cpu().clone();  // .cpu() copies nothing where it is there
    skipped_on_device_.slice(0, 0, 2).zero_();
    skipped_on_device_.select(0, 3).zero_();
    skipped.count = counts.const_data_ptr<std::int64_t>()[0];
    skipped.first_step = counts.const_data_ptr<std::int64_t>()[1];
    most_in_a_row = counts.const_data_ptr<std::int64_t>()[3];
  }
  if (skipped.count == 0) return std::nullopt;
  throw_unless_skipping(skipped);
  throw_at_limit(skipped, most_in_a_row);
  return skipped;
}

void ParameterUpdater::throw_unless_skipping(const SkippedUpdates& skipped) const {
  if (!skips_) throw NonFiniteGradientError(skipped);
}

void ParameterUpdater::throw_at_limit(const SkippedUpdates& skipped, std::int64_t num_in_a_row) const {
  if (max_consecutive_skips_ == 0 || num_in_a_row < max_consecutive_skips_) return;
  throw NonFiniteGradientError(skipped, num_in_a_row);
}

}  // namespace leda::training
