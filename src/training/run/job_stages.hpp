// What a job does once its data is there: the trainings that run.stages names, one after the other, each resumed from
// its own checkpoints, then the evaluation. All calls are collective.
#pragma once

#include <c10/core/Device.h>

#include <filesystem>
#include <optional>

#include "base/stop_signal.hpp"
#include "ct/hounsfield.hpp"
#include "data/loading/slice_loader.hpp"
#include "distributed/core/communicator.hpp"
#include "language/vocabulary.hpp"
#include "language/word_scores.hpp"
#include "logging/console.hpp"
#include "logging/goodput_ledger.hpp"
#include "logging/trace.hpp"
#include "model_files/autoencoder_file.hpp"
#include "models/network.hpp"
#include "training/options/job_options.hpp"
#include "training/options/time_limit.hpp"
#include "training/run/job_data.hpp"
#include "training/run/stop_requests.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"
#include "training/stages/training_plan.hpp"

namespace leda::training {

// What a job is given to work with; it outlives the stages.
struct JobParts {
  distributed::Communicator& communicator;  // carries tensors on the device
  at::Device device;
  logging::Console& console;
  logging::GoodputLedger& ledger;
  TimeLimit& time_limit;
  const StopRequests& stops;
  const JobData& data;
};

class JobStages {
 public:
  JobStages(const JobOptions& options, std::filesystem::path run_folder, const JobParts& parts);

  // What was agreed on meanwhile; none: all is done.
  base::StopRequest run();
  // Everything but the training: networks, one step's data, a checkpoint written and read.
  void check_without_training();

 private:
  StageContext context(std::uint64_t seed, logging::Trace* trace = nullptr) const;
  std::optional<language::WordScores> word_scores(const language::Vocabulary& vocabulary) const;
  std::filesystem::path autoencoder_path() const;
  void check_data() const;
  std::optional<model_files::AutoencoderFile> autoencoder_for(const DenoiserTraining& training) const;
  base::StopRequest train(Stage& stage, const TrainingPlan& plan, const data::LoaderOptions& loading,
                          logging::Trace& trace);
  base::StopRequest pretrain();
  base::StopRequest train_denoiser(const DenoiserTraining& training);
  base::StopRequest evaluate();
  void check_stage(Stage& stage, const TrainingPlan& plan, const data::LoaderOptions& loading);

  const JobOptions& options_;
  std::filesystem::path run_folder_;
  JobParts parts_;
  ct::Window window_;
  models::TensorSettings settings_;  // but for the seed, which each training has of its own
};

}  // namespace leda::training
