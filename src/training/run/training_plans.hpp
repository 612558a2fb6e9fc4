// The trainings that a job's options ask for: stage 1, and stage 2 with and without LEDA, one for each seed; with what
// each of them reads. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "data/loading/slice_loader.hpp"
#include "training/options/job_options.hpp"
#include "training/stages/training_plan.hpp"

namespace leda::training {

// Folder of stage 1 within the run folder.
inline constexpr const char* kPretrainFolder = "pretrain";

// Whether run.stages names it.
bool has_stage(const JobOptions& options, JobStage stage);

TrainingPlan pretrain_plan(const JobOptions& options);
// How its slices are loaded; as denoiser_loader.
data::LoaderOptions pretrain_loader(const JobOptions& options, at::ScalarType dtype);

struct DenoiserTraining {
  std::string row;     // of the result table
  std::string folder;  // within the run folder
  std::uint64_t seed = 0;
  double leda_weight = 0.0;
};

// In the order in which they are trained.
std::vector<DenoiserTraining> denoiser_trainings(const JobOptions& options);

TrainingPlan denoiser_plan(const JobOptions& options, const DenoiserTraining& training);
data::LoaderOptions denoiser_loader(const JobOptions& options, std::uint64_t seed, at::ScalarType dtype);

}  // namespace leda::training
