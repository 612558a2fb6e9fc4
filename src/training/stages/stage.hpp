// What the training loop needs to know of a stage. Implementations: PretrainStage, DenoiserStage. A stage owns its
// networks and optimisers; the loop owns the order of events. All calls but state() are collective.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_store.hpp"
#include "data/loading/batch_prefetcher.hpp"
#include "logging/scalar.hpp"
#include "training/update/non_finite_gradient.hpp"

namespace leda::training {

// Named scalars of one step, each this rank's part of a sum over ranks, left on the device: without dimensions, or, in
// a reproducible step, one element for each sample of the global batch, of which others than this rank's are 0. Same
// names in every step.
using LossReport = std::vector<std::pair<std::string, at::Tensor>>;
// The entry that counts updates which were not made because a gradient was not finite.
inline constexpr const char* kSkippedUpdates = "skipped_updates";

struct ValidationReport {
  std::vector<logging::Scalar> figures;  // means over slices per patient, then over patients
  std::string criterion_name;            // for people: "RMSE inside the body"
  double criterion = 0.0;                // in HU; lower is better; the checkpoint with the lowest is kept
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

  // One optimiser update of every network of the stage that is trained in this step. `is_logged`: interval_figures() is
  // called after it, so that what is costly and asked for once an interval may be measured here.
  virtual LossReport train_step(const data::StepBatch& batch, bool is_logged) = 0;
  // What is known by now of updates that were not made since the last call: one entry for each network that had any.
  // Throws NonFiniteGradientError where training.on_non_finite is not skip. May wait for the device.
  virtual std::vector<SkippedUpdates> collect_skipped_updates() = 0;
  // What is counted over many steps (token usage, say), summed over ranks, and started afresh.
  virtual std::vector<logging::Scalar> interval_figures() = 0;
  // `step` updates have been made. `should_stop`: as of data::RankWalk; nullopt where it said so.
  virtual std::optional<ValidationReport> validate(std::int64_t step, const std::function<bool()>& should_stop) = 0;

  virtual StageState state() const = 0;
  virtual void load_state(const StageState& state) = 0;
  // Equal for two stages whose checkpoints fit each other.
  virtual std::string identity() const = 0;
};

// The micro-batches that a rank runs. In a reproducible step those without an image, which keep collectives matched
// otherwise, are left out (they come last), and none has more than one.
std::size_t num_micro_batches_of(const data::StepBatch& batch, bool is_reproducible);

// Bytes of a checkpoint of this stage, about.
std::uint64_t checkpoint_bytes(const Stage& stage);

}  // namespace leda::training
