// A network under training: its gradients into steps at its learning rate, and its part of a checkpoint. Borrows the
// network's tensors and the communicator; one thread, the same calls on every rank.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/network.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"
#include "training/update/learning_rate_schedule.hpp"
#include "training/update/parameter_updater.hpp"

namespace leda::training {

// What a checkpoint calls the network: "autoencoder." before its tensors, "bucket_plan" among the facts.
struct NetworkNames {
  std::string prefix;
  std::string bucket_plan = "bucket_plan";
};

class TrainedNetwork {
 public:
  // Collective.
  TrainedNetwork(NetworkNames names, models::TensorTable& table, const AdamOptions& adam, LearningRateSchedule schedule,
                 const StageContext& context);

  // Off: its parameters collect no gradients while another network learns through it, and its hooks stay silent.
  void set_trained(bool is_trained);

  void begin_step(const data::StepBatch& batch, std::size_t num_micro_batches);
  void accumulate(const at::Tensor& loss, bool is_last_micro_batch) { updater_->accumulate(loss, is_last_micro_batch); }
  // ParameterUpdater::update at the rate of the step begun.
  Update update() { return updater_->update(schedule_.rate(step_)); }
  // ParameterUpdater::collect_skipped_updates, added to `skipped`.
  void collect_skipped_updates(std::vector<SkippedUpdates>& skipped);

  // Weights, moments and the plan of the buckets.
  void append_state(StageState& state) const;
  // Throws Error(data) for a state of another network. Collective.
  void load_state(const StageState& state);

 private:
  std::unique_ptr<ParameterUpdater> make_updater(distributed::BucketPlan plan) const;

  NetworkNames names_;
  models::TensorTable& table_;
  UpdateOptions options_;
  LearningRateSchedule schedule_;
  distributed::Communicator& communicator_;
  logging::Trace* trace_;
  std::int64_t step_ = 0;
  std::unique_ptr<ParameterUpdater> updater_;
};

}  // namespace leda::training
