// What both stages are handed: who else takes part, where tensors live, what they are validated on, and the options
// that both have. Everything referred to lives in the job and outlives the stages.
#pragma once

#include "ct/hounsfield.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"
#include "logging/goodput_ledger.hpp"
#include "logging/trace.hpp"
#include "models/network.hpp"
#include "training/options/job_options.hpp"
#include "training/options/time_limit.hpp"
#include "training/update/learning_rate_schedule.hpp"

namespace leda::training {

struct StageContext {
  const TrainingOptions& training;
  const distributed::SynchronizerOptions& distributed;
  distributed::Communicator& communicator;
  logging::Console& console;
  const data::ShardCatalogue& validation;
  ct::Window window;
  models::TensorSettings settings;  // type, device, and the stage's one seed
  logging::Trace* trace = nullptr;
  logging::GoodputLedger* ledger = nullptr;  // of the run's time
  TimeLimit* time_limit = nullptr;
};

// Batch size, and the rate that follows from training.learning_rate_scaling.
std::int64_t global_batch_of(std::int64_t own, const TrainingOptions& training);
double scaled_learning_rate(double base, std::int64_t global_batch, const TrainingOptions& training);
LearningRateSchedule schedule_of(double base, std::int64_t num_steps, std::int64_t global_batch,
                                 const TrainingOptions& training);

// Error(data) unless both sides of the data set's images, or the crop, are multiples of `multiple` and at least
// `smallest`; `reader` says who needs that.
void check_image_sides(const data::ShardCatalogue& catalogue, std::int64_t crop, int multiple, int smallest,
                       const std::string& reader);

}  // namespace leda::training
