// One network's way from a loss to new weights: backward, the sum of gradients over ranks, clipping, Adam. The only
// caller of backward(). The parameters' network and the communicator outlive it.
//
// An update whose gradients are not finite is not made: weights, moments and their count stay as they were. With the
// check before the sum the host knows at once; with the check on the device the update is masked there, and
// collect_skipped_updates() is when the host learns of it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "distributed/gradients/gradient_synchronizer.hpp"
#include "logging/trace.hpp"
#include "models/network.hpp"
#include "training/options/job_options.hpp"
#include "training/update/adam.hpp"
#include "training/update/non_finite_gradient.hpp"

namespace leda::training {

struct UpdateOptions {
  AdamOptions adam;
  double max_gradient_norm = 0.0;  // 0 = no clipping
  NonFiniteReaction on_non_finite = NonFiniteReaction::stop;
  std::int64_t max_consecutive_skips = 0;  // 0 = no limit
  distributed::SynchronizerOptions synchronizer;
};

UpdateOptions update_options_of(const TrainingOptions& training, const distributed::SynchronizerOptions& synchronizer,
                                const AdamOptions& adam);

// Both without dimensions, on the device, the same on every rank.
struct Update {
  at::Tensor gradient_norm;  // over all ranks' samples, before clipping
  at::Tensor is_skipped;     // float32: 1 where the update was not made, else 0
};

class ParameterUpdater {
 public:
  // Collective. `plan` is the one of the checkpoint, or a new one.
  ParameterUpdater(const std::vector<models::NamedTensor>& parameters, const UpdateOptions& options,
                   distributed::BucketPlan plan, distributed::Communicator& communicator,
                   logging::Trace* trace = nullptr);

  // `num_samples`: of all ranks in this step.
  void begin_step(std::int64_t step, int num_micro_batches, std::int64_t num_samples);
  // Gradients of `loss`, this rank's share of the global mean, are added up; in the last micro-batch they leave.
  void accumulate(const at::Tensor& loss, bool is_last_micro_batch);
  // Waits for the sums (the device does, where they are there), clips to the maximal norm over all ranks, updates.
  // Throws NonFiniteGradientError where the check is before the sum and on_non_finite is not skip, or the limit of
  // skips in a row is reached.
  Update update(double learning_rate);
  // The updates that were not made since the last call, if any; where on_non_finite is not skip, or the limit of skips
  // in a row was reached, thrown as NonFiniteGradientError. Collective; waits for the device.
  std::optional<SkippedUpdates> collect_skipped_updates();

  const distributed::BucketPlan& plan() const { return synchronizer_.plan(); }
  Adam& optimiser() { return adam_; }
  const Adam& optimiser() const { return adam_; }

 private:
  void clip(const at::Tensor& norm);
  Update update_unless_found(double learning_rate, const at::Tensor& norm);
  Update update_on_device(double learning_rate, const at::Tensor& norm);
  void throw_unless_skipping(const SkippedUpdates& skipped) const;
  void throw_at_limit(const SkippedUpdates& skipped, std::int64_t num_in_a_row) const;

  double max_gradient_norm_;
  bool skips_;
  std::int64_t max_consecutive_skips_;
  logging::Trace* trace_;
  double forward_begin_ = 0.0;  // the end of what this updater did last in the step
  distributed::GradientSynchronizer synchronizer_;
  Adam adam_;
  std::int64_t step_ = 0;
  SkippedUpdates skipped_;         // with the check before the sum
  std::int64_t num_in_a_row_ = 0;  // skips since the last update that was made
  // With the check there, int64 [4]: count, first step, skips in a row, most in a row since collect_skipped_updates().
  at::Tensor skipped_on_device_;
};

distributed::BucketPlan plan_for(const std::vector<models::NamedTensor>& parameters,
                                 const distributed::SynchronizerOptions& options);

}  // namespace leda::training
