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

#include "distributed/core/communicator.hpp"
#include "distributed/gradients/bucket_exchange.hpp"
#include "distributed/gradients/bucket_plan.hpp"
#include "distributed/gradients/non_finite_tracker.hpp"
#include "logging/trace.hpp"

namespace leda::distributed {

// A gradient with a NaN or an infinity before the sum over ranks.
struct NonFiniteGradient {
  int rank = 0;        // the lowest that had one in this step
  int num_others = 0;  // ranks beside it; a statistic over ranks spreads one rank's NaN to all within forward
  std::string parameter;
  std::int64_t step = 0;

  std::string text() const;  // rank 1, parameter first.bias, step 41; rank 0 and 2 others, ...
};

// lint: what hooks note in the middle of backward, what leaves by it, and what ranks tell each other are one state
class GradientSynchronizer {
 public:
  // Collective. Error(communication) if ranks hold different parameters or plans, Error(data) if the plan is not one
  // of these parameters (one from a checkpoint of another network, say).
  // `trace`, where there is one, gets each bucket's way and the waiting for them, and outlives this.
  GradientSynchronizer(std::vector<NamedParameter> parameters, BucketPlan plan, Communicator& communicator,
                       const SynchronizerOptions& options = {}, logging::Trace* trace = nullptr);
  ~GradientSynchronizer();
  GradientSynchronizer(const GradientSynchronizer&) = delete;
  GradientSynchronizer& operator=(const GradientSynchronizer&) = delete;

  // Zeroes all gradients. `step` is for messages. A rank without samples may pass 0 micro-batches, if no other
  // collective hides in its graph. A reproducible sum needs `num_samples`, those of all ranks in this step, and one
  // micro-batch for each sample of this rank's part of the batch (partition_of_rank), in order.
  void begin_step(std::int64_t step, int num_micro_batches, std::int64_t num_samples = 0);
  // Before each backward. Buckets leave during the last one only.
  void begin_micro_batch(bool is_last);
  // Waits until every gradient holds its sum over ranks; with the check on the device that is a wait of the device, not
  // of the host. Error(internal) on every rank alike names a parameter that got no gradient: at once, or, with the
  // check on the device, in the next finish() or take_non_finite().
  void finish();

  // Where a NaN or an infinity is looked for before the sum: what finish() found, the same on every rank.
  bool checks_before_sum() const { return tracker_ == nullptr; }
  const std::optional<NonFiniteGradient>& non_finite() const { return non_finite_; }
  // Where it is looked for on the device: the earliest of those noted since the last call, the same on every rank.
  // Collective; waits for the device.
  std::optional<NonFiniteGradient> take_non_finite();

  // The buckets themselves, flat, in the plan's order. Valid between finish() and the next begin_step().
  const std::vector<at::Tensor>& flat_gradients() const { return flat_gradients_; }
  // Sum of squares over all gradients: float64, no dimensions, on the parameters' device.
  at::Tensor squared_norm() const;

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
  void end_micro_batch(int bucket);
  std::optional<int> first_non_finite(int bucket) const;
  void start_agreement();
  void conclude_agreement();
  void note_sum(int bucket);

  std::vector<NamedParameter> parameters_;
  BucketPlan plan_;
  std::unique_ptr<Communicator> channel_;
  logging::Trace* trace_;
  bool overlaps_;
  bool sums_samples_;
  std::unique_ptr<BucketExchange> exchange_;
  std::vector<at::Tensor> flat_gradients_;
  std::vector<Place> places_;

  std::int64_t step_ = 0;
  int micro_batches_left_ = 0;
  bool has_micro_batches_ = false;
  bool is_open_ = false;     // between begin_step and finish
  bool is_sending_ = false;  // in the last micro-batch
  bool is_first_micro_batch_ = true;
  std::vector<bool> has_gradient_;
  std::vector<int> num_missing_;  // per bucket, in the last micro-batch
  int num_sent_ = 0;
  std::vector<double> departure_seconds_;  // per bucket
  std::optional<int> non_finite_parameter_;
  std::optional<NonFiniteGradient> non_finite_;
  std::unique_ptr<NonFiniteTracker> tracker_;  // where the check is on the device

  // What the ranks tell each other about a step: int64 [2, size] in host memory, 1 + the index of a parameter without a
  // gradient, and of one with a non-finite gradient; one column a rank.
  at::Tensor faults_;
  std::int64_t step_of_faults_ = 0;
  std::unique_ptr<PendingCollective> agreement_;
  int exceptions_at_start_;
};

}  // namespace leda::distributed
