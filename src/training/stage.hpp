// What the training loop needs to know of a stage. Implementations: PretrainStage, DenoiserStage. A stage owns its
// networks and optimisers; the loop owns the order of events. All calls but state() are collective.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_store.hpp"
#include "data/batch_prefetcher.hpp"
#include "logging/scalar.hpp"

namespace leda::training {

// Named scalars of one step, each this rank's part of a sum over ranks, left on the device. Same names in every step.
using LossReport = std::vector<std::pair<std::string, at::Tensor>>;

struct ValidationReport {
  std::vector<logging::Scalar> figures;  // means over slices per patient, then over patients
  double criterion = 0.0;                // lower is better; the checkpoint with the lowest is kept
  double untrained_criterion = 0.0;      // of doing nothing, where that is known; 0 = unknown
};

// The stage's part of a checkpoint.
struct StageState {
  storage::TensorArchive networks;
  storage::TensorArchive optimisers;
  std::vector<std::pair<std::string, std::string>> facts;  // bucket plans, hashes; strings of state.json
};

class Stage {
 public:
  virtual ~Stage() = default;

  // One optimiser update of every network of the stage that is trained in this step.
  virtual LossReport train_step(const data::StepBatch& batch) = 0;
  // What is counted over many steps (token usage, say), summed over ranks, and started afresh.
  virtual std::vector<logging::Scalar> interval_figures() = 0;
  // `step` updates have been made.
  virtual ValidationReport validate(std::int64_t step) = 0;

  virtual StageState state() const = 0;
  virtual void load_state(const StageState& state) = 0;
  // Equal for two stages whose checkpoints fit each other.
  virtual std::string identity() const = 0;
};

// Bytes of a checkpoint of this stage, about.
std::uint64_t checkpoint_bytes(const Stage& stage);

}  // namespace leda::training
