#include "training/run/training_plans.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "training/stages/stage_context.hpp"

namespace leda::training {
namespace {

constexpr const char* kWithLeda = "with LEDA";
constexpr const char* kWithoutLeda = "without LEDA";

}  // namespace

bool has_stage(const JobOptions& options, JobStage stage) {
  return std::find(options.run.stages.begin(), options.run.stages.end(), stage) != options.run.stages.end();
}

TrainingPlan pretrain_plan(const JobOptions& options) {
  const AutoencoderTrainingOptions& training = options.pretrain.training;
  const std::int64_t batch = global_batch_of(training.global_batch, options.training);
  return {.title = "stage 1",
          .num_steps = training.num_steps,
          .global_batch = batch,
          .schedule = schedule_of(training.learning_rate, training.num_steps, batch, options.training),
          .seed = options.run.seed,
          .folder = kPretrainFolder};
}

data::LoaderOptions pretrain_loader(const JobOptions& options, at::ScalarType dtype) {
  return {.window = ct::window_of(options.data.window),
          .dtype = dtype,
          .flips = options.pretrain.training.flips,
          .needs_tissue = true,
          .seed = options.run.seed};
}

std::vector<DenoiserTraining> denoiser_trainings(const JobOptions& options) {
  std::vector<DenoiserTraining> trainings;
  for (std::int64_t i = 0; i < options.run.num_denoiser_seeds; ++i) {
    const std::uint64_t seed = options.run.seed + static_cast<std::uint64_t>(i);
    const std::string suffix = i == 0 ? "" : fmt::format("_seed_{}", seed);
    if (has_stage(options, JobStage::baseline)) trainings.push_back({kWithoutLeda, "without_leda" + suffix, seed, 0.0});
    if (!has_stage(options, JobStage::denoise)) continue;
    const double weight = options.denoise.leda.weight;
    trainings.push_back({weight != 0.0 ? kWithLeda : "leda.weight 0",
                         (weight != 0.0 ? "with_leda" : "weight_0") + suffix, seed, weight});
  }
  return trainings;
}

TrainingPlan denoiser_plan(const JobOptions& options, const DenoiserTraining& training) {
  const DenoiserTrainingOptions& denoiser = options.denoise.training;
  const std::int64_t batch = global_batch_of(denoiser.global_batch, options.training);
  const std::string seed = options.run.num_denoiser_seeds > 1 ? fmt::format(", seed {}", training.seed) : "";
  return {.title = fmt::format("stage 2 {}{}", training.row, seed),
          .num_steps = denoiser.num_steps,
          .global_batch = batch,
          .schedule = schedule_of(denoiser.learning_rate, denoiser.num_steps, batch, options.training),
          .seed = training.seed,
          .folder = training.folder};
}

data::LoaderOptions denoiser_loader(const JobOptions& options, std::uint64_t seed, at::ScalarType dtype) {
  return {.window = ct::window_of(options.data.window),
          .dtype = dtype,
          .crop = static_cast<int>(options.denoise.training.crop),
          .flips = options.denoise.training.augment,
          .rotations = options.denoise.training.augment,
          .needs_low_dose = true,
          .seed = seed};
}

}  // namespace leda::training
