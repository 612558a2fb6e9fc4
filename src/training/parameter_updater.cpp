#include "training/parameter_updater.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

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

ParameterUpdater::ParameterUpdater(const std::vector<models::NamedTensor>& parameters, AdamOptions options,
                                   double max_gradient_norm, distributed::BucketPlan plan,
                                   distributed::Communicator& communicator, logging::Trace* trace)
    : max_gradient_norm_(max_gradient_norm),
      trace_(trace),
      synchronizer_(as_synchronised(parameters), std::move(plan), communicator, trace),
      adam_(parameters, options) {}

void ParameterUpdater::begin_step(std::int64_t step, int num_micro_batches) {
  step_ = step;
  synchronizer_.begin_step(step, num_micro_batches);
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

at::Tensor ParameterUpdater::update(double learning_rate) {
  synchronizer_.finish();
  const logging::Span optimiser(trace_, "optimiser", step_);
  const at::NoGradGuard no_grad;
  at::Tensor norm = synchronizer_.squared_norm().sqrt();
  if (max_gradient_norm_ > 0.0) {
    // On the device: no wait for the norm's value. min(1, maximum / norm) as clip_grad_norm_ does.
    const at::Tensor scale = (max_gradient_norm_ / (norm + 1e-6)).clamp_max(1.0);
    for (const at::Tensor& flat : synchronizer_.flat_gradients()) flat.mul_(scale.to(flat.scalar_type()));
  }
  adam_.step(learning_rate);
  return norm;
}

}  // namespace leda::training
