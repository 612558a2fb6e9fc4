// One network's way from a loss to new weights: backward, the sum of gradients over ranks, clipping, Adam. The only
// caller of backward(). The parameters' network and the communicator outlive it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "distributed/gradient_synchronizer.hpp"
#include "logging/trace.hpp"
#include "models/network.hpp"
#include "training/adam.hpp"

namespace leda::training {

class ParameterUpdater {
 public:
  // Collective. `plan` is the one of the checkpoint, or a new one.
  ParameterUpdater(const std::vector<models::NamedTensor>& parameters, AdamOptions options, double max_gradient_norm,
                   distributed::BucketPlan plan, distributed::Communicator& communicator,
                   logging::Trace* trace = nullptr);

  void begin_step(std::int64_t step, int num_micro_batches);
  // Gradients of `loss`, this rank's share of the global mean, are added up; in the last micro-batch they leave.
  void accumulate(const at::Tensor& loss, bool is_last_micro_batch);
  // Waits for the sums, clips to the maximal norm over all ranks, updates. Returns that norm before clipping, on the
  // device.
  at::Tensor update(double learning_rate);

  const distributed::BucketPlan& plan() const { return synchronizer_.plan(); }
  Adam& optimiser() { return adam_; }
  const Adam& optimiser() const { return adam_; }

 private:
  double max_gradient_norm_;
  logging::Trace* trace_;
  std::int64_t step_ = 0;
  double forward_begin_ = 0.0;  // the end of what this updater did last in the step
  distributed::GradientSynchronizer synchronizer_;
  Adam adam_;
};

distributed::BucketPlan plan_for(const std::vector<models::NamedTensor>& parameters,
                                 const distributed::SynchronizerOptions& options);

}  // namespace leda::training
