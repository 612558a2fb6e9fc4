// The stage-2 trainings that a job's options ask for: with and without LEDA, one for each seed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "training/options/job_options.hpp"

namespace leda::training {

// Whether run.stages names it.
bool has_stage(const JobOptions& options, JobStage stage);

struct DenoiserPhase {
  std::string row;     // of the result table
  std::string folder;  // within the run folder
  std::uint64_t seed = 0;
  double leda_weight = 0.0;
};

// In the order in which they are trained.
std::vector<DenoiserPhase> denoiser_phases(const JobOptions& options);

}  // namespace leda::training
