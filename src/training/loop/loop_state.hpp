// What a checkpoint keeps of a training loop, as state.json: written and read in one place.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "training/options/execution_environment.hpp"

namespace leda::training {

// What the loop goes on with.
struct LoopProgress {
  std::int64_t step = 0;  // updates made
  std::int64_t best_step = -1;
  double best_criterion = 0.0;
  bool is_validation_pending = false;  // of `step`
};

struct SavedLoop {
  LoopProgress progress;
  // What is said of the run, for readers of the file.
  std::int64_t num_steps = 0;
  std::int64_t steps_per_epoch = 1;
  std::int64_t global_batch = 0;
  std::uint64_t seed = 0;
  double learning_rate = 0.0;
  // What must be the same when it goes on, or is warned of.
  std::string data_fingerprint;
  ExecutionEnvironment environment;
  std::vector<std::pair<std::string, std::string>> stage_facts;  // StageState::facts
};

std::string to_json(const SavedLoop& loop);
// Without what is said for readers of the file. Throws nlohmann's exception for a text that to_json
// did not write: a checkpoint's checksums have been verified before.
SavedLoop saved_loop_of(const std::string& json);

}  // namespace leda::training
