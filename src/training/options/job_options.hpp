// Everything a user can set about a training job. Defaults are those of the publication where it states them; the
// embedded job (configs/quickstart.cfg) sets small ones. Each field is an option `section.field`, bound in
// config/job_option_table.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint_store.hpp"
#include "distributed/core/device_ranks.hpp"
#include "distributed/gradients/bucket_plan.hpp"
#include "language/candidate_words.hpp"
#include "language/codebook_ablation.hpp"
#include "losses/leda_loss.hpp"
#include "models/autoencoder.hpp"
#include "models/denoiser.hpp"
#include "models/patch_discriminator.hpp"

namespace leda::training {

// What a job does. baseline: stage 2 without LEDA; denoise: with.
enum class JobStage { pretrain, baseline, denoise, evaluate };
constexpr std::array<std::string_view, 4> names_of(JobStage) { return {"pretrain", "baseline", "denoise", "evaluate"}; }

// automatic: a GPU if there is one.
enum class DeviceChoice { automatic, cpu, cuda };
constexpr std::array<std::string_view, 3> names_of(DeviceChoice) { return {"auto", "cpu", "cuda"}; }

// phantoms: written where they are missing.
enum class DataSource { shards, phantoms };
constexpr std::array<std::string_view, 2> names_of(DataSource) { return {"shards", "phantoms"}; }

// dynamic: times the ratio of appearance and semantic loss (SPAE).
enum class SemanticWeighting { fixed, dynamic };
constexpr std::array<std::string_view, 2> names_of(SemanticWeighting) { return {"fixed", "dynamic"}; }

// linear: times the global batch, as taming-transformers does.
enum class RateScaling { none, linear };
constexpr std::array<std::string_view, 2> names_of(RateScaling) { return {"none", "linear"}; }

enum class Precision { float32, float64 };
constexpr std::array<std::string_view, 2> names_of(Precision) { return {"float32", "float64"}; }

// To a gradient that is not finite.
enum class NonFiniteReaction { stop, skip, roll_back };
constexpr std::array<std::string_view, 3> names_of(NonFiniteReaction) { return {"stop", "skip", "roll_back"}; }

// steps: every_num_steps; automatic: training/loop/checkpoint_interval.
enum class CheckpointInterval { steps, automatic };
constexpr std::array<std::string_view, 2> names_of(CheckpointInterval) { return {"steps", "auto"}; }

struct RunOptions {
  std::vector<JobStage> stages{JobStage::pretrain, JobStage::baseline, JobStage::denoise, JobStage::evaluate};
  std::string folder = "runs/leda";
  std::uint64_t seed = 1;
  std::int64_t num_denoiser_seeds = 1;  // denoisers are trained with seed, seed + 1, ...
  DeviceChoice device = DeviceChoice::automatic;
  double max_seconds = 0.0;      // 0 = no limit
  double margin_seconds = 30.0;  // kept free before the batch system takes the nodes away
};

struct DataOptions {
  DataSource source = DataSource::shards;
  std::string folder = "data/shards";
  std::string window = "leda";
  std::int64_t queue_depth = 4;
  // of source = phantoms
  std::int64_t phantom_size = 128;
  std::int64_t num_train_patients = 30;
  std::int64_t num_validation_patients = 4;
  std::int64_t num_test_patients = 6;
  std::int64_t slices_per_patient = 8;
  double dose_fraction = 0.25;
  std::uint64_t phantom_seed = 1;
};

struct VocabularyOptions {
  std::string file = "builtin";
  bool normalise_rows = true;
  language::CodebookAblation ablation = language::CodebookAblation::none;
};

struct AutoencoderTrainingOptions {
  std::int64_t num_steps = 600000;
  std::int64_t global_batch = 0;  // 0 = training.global_batch
  double learning_rate = 4.5e-6;
  double beta1 = 0.5;
  double beta2 = 0.9;
  double semantic_weight = 0.3;
  SemanticWeighting semantic_weighting = SemanticWeighting::fixed;
  double commitment_weight = 1.0;
  double codebook_weight = 1.0;
  double perceptual_weight = 0.0;
  std::string perceptual_weights;  // safetensors file
  bool flips = true;
};

struct AdversarialOptions {
  double weight = 0.8;              // 0 = no discriminator
  std::int64_t start_step = 12000;  // first step in which it acts
  double learning_rate = 4.5e-6;
};

struct DenoiserTrainingOptions {
  std::int64_t num_steps = 100000;
  std::int64_t global_batch = 0;  // 0 = training.global_batch
  double learning_rate = 2.0e-4;
  double beta1 = 0.5;
  double beta2 = 0.999;
  std::int64_t crop = 0;                   // side of random crops; 0 = whole images
  bool augment = true;                     // flips and quarter turns
  std::vector<std::string> losses{"mse"};  // NAME or NAME:WEIGHT (losses/pixel_loss)
};

struct LedaOptions {
  double weight = 0.5;
  std::string autoencoder;  // file; empty = the run's own stage 1
  losses::TokenTerm token_term = losses::TokenTerm::hard;
  double token_weight = 1.0;
  double token_temperature = 1.0;  // of token_term soft
};

// What stage 1 alone is told.
struct PretrainOptions {
  VocabularyOptions vocabulary;
  language::CandidateOptions words;
  models::AutoencoderOptions autoencoder;
  AutoencoderTrainingOptions training;
  models::DiscriminatorOptions discriminator;
  AdversarialOptions adversarial;
};

// What stage 2 alone is told.
struct DenoiseOptions {
  models::DenoiserOptions denoiser;
  DenoiserTrainingOptions training;
  LedaOptions leda;
};

// What both are told.
struct TrainingOptions {
  std::int64_t global_batch = 8;
  std::int64_t max_micro_batch = 4;  // samples per backward and rank, more are accumulated; 0 = the rank's whole share
  RateScaling learning_rate_scaling = RateScaling::none;
  std::int64_t num_warm_up_steps = 0;
  double final_learning_rate_fraction = 1.0;
  double max_gradient_norm = 0.0;  // 0 = no clipping
  std::int64_t validate_every_num_steps = 1000;
  Precision precision = Precision::float32;
  NonFiniteReaction on_non_finite = NonFiniteReaction::stop;
  std::int64_t max_consecutive_skips = 20;  // with skip: updates in a row, of one network; 0 = no limit
  double divergence_factor = 10.0;          // stop when validation is this much worse than its best; 0 = never
};

// How ranks watch each other (distributed/watch/hang_detector, watched_communicator).
struct WatchOptions {
  double timeout_seconds = 600.0;
  bool check_collectives = false;
};

struct CheckpointScheduleOptions {
  CheckpointInterval interval = CheckpointInterval::steps;
  std::int64_t every_num_steps = 1000;
};

struct LoggingOptions {
  std::int64_t every_num_steps = 50;
  double progress_seconds = 10.0;
  bool tensorboard = true;
  bool trace = false;
};

// What the loop alone is told.
struct LoopOptions {
  LoggingOptions logging;
  CheckpointScheduleOptions checkpoint_schedule;
  std::int64_t queue_depth = 4;  // steps loaded ahead
};

struct EvaluationJobOptions {
  std::int64_t max_tuning_slices = 6;
  std::string picture_window = "abdomen";
  bool word_maps = false;  // after stage 1, say how often the words of the test slices name the right tissue
};

struct JobOptions {
  RunOptions run;
  DataOptions data;
  PretrainOptions pretrain;
  DenoiseOptions denoise;
  TrainingOptions training;
  checkpoint::CheckpointOptions checkpoint;
  CheckpointScheduleOptions checkpoint_schedule;
  distributed::SynchronizerOptions distributed;
  distributed::DeviceOptions devices;
  std::int64_t threads_per_rank = 0;  // 0 = cores / ranks on this host
  WatchOptions watch;
  LoggingOptions logging;
  EvaluationJobOptions evaluation;
};

}  // namespace leda::training
