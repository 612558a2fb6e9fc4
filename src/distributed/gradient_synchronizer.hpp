// Sums gradients over ranks while backward still computes. Gradients live in flat buckets: each parameter's .grad is
// an alias into its bucket, so accumulation fills the bucket without a copy. Hooks count arriving gradients; a full
// bucket leaves as soon as all planned before it have left. Sums, not averages: the caller scales its loss by
// 1 / (number of samples in the global batch), which is right for uneven shares too.
// docs/methods/gradient_synchronisation.md
//
// One step:  begin_step; per micro-batch: begin_micro_batch, backward; finish; then read gradients, and step.
// Use: after the parameters have their final type and device; one per network, where of two networks the idle one is
// frozen (requires_grad off). Attaches one hook per parameter and removes it at the end; the communicator must outlive
// it. One thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "distributed/bucket_plan.hpp"
#include "distributed/communicator.hpp"
#include "logging/trace.hpp"

namespace leda::distributed {

class GradientSynchronizer {
 public:
  // Collective. Error(communication) if ranks hold different parameters or plans, Error(data) if the plan is not one
  // of these parameters (one from a checkpoint of another network, say).
  // `trace`, where there is one, gets each bucket's way and the waiting for them, and outlives this.
  GradientSynchronizer(std::vector<NamedParameter> parameters, BucketPlan plan, Communicator& communicator,
                       logging::Trace* trace = nullptr);
  ~GradientSynchronizer();
  GradientSynchronizer(const GradientSynchronizer&) = delete;
  GradientSynchronizer& operator=(const GradientSynchronizer&) = delete;

  // Zeroes all gradients. `step` is for messages. A rank without samples may pass 0 micro-batches, if no other
  // collective hides in its graph.
  void begin_step(std::int64_t step, int num_micro_batches);
  // Before each backward. Buckets leave during the last one only.
  void begin_micro_batch(bool is_last);
  // Waits until every gradient holds its sum over ranks. On every rank alike: Error(internal) names a parameter that
  // got no gradient, Error(non_finite) the rank, parameter and step of a NaN or infinity (looked for before the sum,
  // in host memory only: on a device it would be a wait).
  void finish();

  // The buckets themselves, flat, in the plan's order. Valid between finish() and the next begin_step().
  const std::vector<at::Tensor>& flat_gradients() const { return flat_gradients_; }
  // Sum of squares over all gradients: float64, no dimensions, on the parameters' device.
  at::Tensor squared_norm() const;
  // L2 norm over all gradients. Waits for the device.
  double global_norm() const;

  const BucketPlan& plan() const { return plan_; }

 private:
  class Hook;
  struct Place {  // of a parameter's gradient
    int bucket = 0;
    std::int64_t offset = 0;
    at::Tensor gradient;
  };

  void check_plan() const;
  void check_ranks_agree();
  void lay_out_buckets();
  void attach_gradients();
  void note_gradient(int parameter_index);
  void send_full_buckets();
  void send_bucket(int bucket);
  std::optional<int> first_non_finite(int bucket) const;
  void agree_on_faults();
  void wait_for_sums();

  std::vector<NamedParameter> parameters_;
  BucketPlan plan_;
  std::unique_ptr<Communicator> channel_;
  logging::Trace* trace_;
  std::vector<at::Tensor> flat_gradients_;
  std::vector<Place> places_;

  std::int64_t step_ = 0;
  int micro_batches_left_ = 0;
  bool has_micro_batches_ = false;
  bool is_open_ = false;     // between begin_step and finish
  bool is_sending_ = false;  // in the last micro-batch
  std::vector<bool> has_gradient_;
  std::vector<int> num_missing_;  // per bucket, in the last micro-batch
  int num_sent_ = 0;
  struct Departure {  // of a bucket, or of the table of faults behind the last of them
    std::unique_ptr<PendingCollective> sum;
    double seconds = 0.0;
  };
  std::vector<Departure> departures_;
  std::optional<int> non_finite_parameter_;
};

}  // namespace leda::distributed
