#include "training/stages/trained_network.hpp"

#include <utility>

#include "model_files/network_state.hpp"

namespace leda::training {

TrainedNetwork::TrainedNetwork(NetworkNames names, models::TensorTable& table, const AdamOptions& adam,
                               LearningRateSchedule schedule, const StageContext& context)
    : names_(std::move(names)),
      table_(table),
      options_(update_options_of(context.training, context.distributed, adam)),
      schedule_(std::move(schedule)),
      communicator_(context.communicator),
      trace_(context.trace),
      updater_(make_updater(plan_for(table.parameters, options_.synchronizer))) {}

std::unique_ptr<ParameterUpdater> TrainedNetwork::make_updater(distributed::BucketPlan plan) const {
  return std::make_unique<ParameterUpdater>(table_.parameters, options_, std::move(plan), communicator_, trace_);
}

void TrainedNetwork::set_trained(bool is_trained) {
  for (models::NamedTensor& parameter : table_.parameters) parameter.tensor.set_requires_grad(is_trained);
}

void TrainedNetwork::begin_step(const data::StepBatch& batch, std::size_t num_micro_batches) {
  step_ = batch.step;
  updater_->begin_step(batch.step, static_cast<int>(num_micro_batches), batch.global_count);
}

void TrainedNetwork::collect_skipped_updates(std::vector<SkippedUpdates>& skipped) {
  if (auto updates = updater_->collect_skipped_updates()) skipped.push_back(*std::move(updates));
}

void TrainedNetwork::append_state(StageState& state) const {
  model_files::append_network(names_.prefix, table_, state.networks);
  std::as_const(*updater_).optimiser().append_state(names_.prefix, state.optimisers);
  state.facts.emplace_back(names_.bucket_plan, updater_->plan().text());
}

void TrainedNetwork::load_state(const StageState& state) {
  set_trained(true);
  model_files::load_network(names_.prefix, state.networks, table_, "the checkpoint");
  std::string plan;
  for (const auto& [name, text] : state.facts) {
    if (name == names_.bucket_plan) plan = text;
  }
  updater_.reset();  // its hooks leave before the new ones are attached
  updater_ = make_updater(distributed::BucketPlan::from_text(plan));
  updater_->optimiser().load_state(names_.prefix, state.optimisers);
}

}  // namespace leda::training
