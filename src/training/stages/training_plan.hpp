// One training of one stage: how long, on how many images a step, at which rates, and the one seed of its weights, data
// order and augmentation. Derived once from a job's options (run/training_plans), handed to stage and loop.
#pragma once

#include <cstdint>
#include <string>

#include "training/update/learning_rate_schedule.hpp"

namespace leda::training {

struct TrainingPlan {
  std::string title;  // "stage 1", in messages and progress lines
  std::int64_t num_steps = 0;
  std::int64_t global_batch = 1;
  LearningRateSchedule schedule;  // of the network that the stage is for
  std::uint64_t seed = 0;
  std::string folder{};  // within the run folder, by which the ledger knows it over all starts
};

}  // namespace leda::training
