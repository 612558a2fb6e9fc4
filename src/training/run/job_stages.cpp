#include "training/run/job_stages.hpp"

#include <fmt/format.h>

#include <memory>
#include <vector>

#include "base/choice.hpp"
#include "base/error.hpp"
#include "checkpoint/checkpoint_store.hpp"
#include "evaluation/comparison_picture.hpp"
#include "evaluation/evaluation.hpp"
#include "evaluation/evaluation_report.hpp"
#include "inference/denoiser_inference.hpp"
#include "language/codebook_ablation.hpp"
#include "logging/run_log.hpp"
#include "model_files/denoiser_file.hpp"
#include "training/loop/training_loop.hpp"
#include "training/run/training_trace.hpp"
#include "training/stages/denoiser_stage.hpp"
#include "training/stages/pretrain_report.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

namespace fs = std::filesystem;
using base::ExitCode;
using base::StopRequest;

// A checkpoint goes on with the same networks, data order and random numbers.
std::string run_identity(const Stage& stage, const TrainingPlan& plan) {
  return fmt::format("{}; seed {}, global batch {}", stage.identity(), plan.seed, plan.global_batch);
}

}  // namespace

JobStages::JobStages(const JobOptions& options, fs::path run_folder, const JobParts& parts)
    : options_(options),
      run_folder_(std::move(run_folder)),
      parts_(parts),
      window_(ct::window_of(options.data.window)),
      settings_{options.training.precision == Precision::float64 ? at::kDouble : at::kFloat, parts.device,
                options.run.seed} {}

StageContext JobStages::context(std::uint64_t seed, logging::Trace* trace) const {
  models::TensorSettings settings = settings_;
  settings.seed = seed;
  return {options_.training,
          options_.distributed,
          parts_.communicator,
          parts_.console,
          parts_.data.validation,
          window_,
          settings,
          trace,
          &parts_.ledger,
          &parts_.time_limit};
}

std::optional<language::WordScores> JobStages::word_scores(const language::Vocabulary& vocabulary) const {
  return load_word_scores(options_.pretrain.words, vocabulary, parts_.data.train, parts_.communicator, parts_.console);
}

fs::path JobStages::autoencoder_path() const {
  return options_.denoise.leda.autoencoder.empty() ? run_folder_ / kPretrainFolder / "autoencoder.safetensors"
                                                   : fs::path(options_.denoise.leda.autoencoder);
}

std::optional<model_files::AutoencoderFile> JobStages::autoencoder_for(const DenoiserTraining& training) const {
  if (training.leda_weight == 0.0) return std::nullopt;
  const fs::path path = autoencoder_path();
  if (!fs::exists(path)) {
    throw base::ErrorOnAllRanks(ExitCode::data, {.what = "the LEDA loss has no autoencoder",
                                                 .value = path.string() + " does not exist",
                                                 .why = "stage 2 compares images in its latent space",
                                                 .remedy = "add pretrain to run.stages, name a file with "
                                                           "leda.autoencoder, or set leda.weight to 0"});
  }
  model_files::AutoencoderFile file =
      model_files::load_autoencoder(path, settings_, options_.pretrain.autoencoder.vocabulary_tile);
  if (models::is_published(options_.pretrain.autoencoder) && !models::is_published(file.autoencoder->options())) {
    throw base::ErrorOnAllRanks(
        ExitCode::options,
        {.what = "leda.autoencoder is not a published one, which autoencoder.compatibility = published asks for",
         .value = "its file says compatibility none",
         .why = "it need not have the published quantiser, and the result would be taken for a published one",
         .remedy = "name a file that data_tools/import_autoencoder.py made of the published weights, or set "
                   "autoencoder.compatibility = none"});
  }
  // A file of one's own choice may speak any vocabulary; the run's own stage 1 must have spoken this one.
  if (options_.denoise.leda.autoencoder.empty()) {
    model_files::require_vocabulary(
        file, path, language::stated_vocabulary_hash(options_.pretrain.vocabulary.file),
        language::ablation_record(options_.pretrain.vocabulary.ablation, options_.run.seed));
  }
  return file;
}

StopRequest JobStages::train(Stage& stage, const TrainingPlan& plan, const data::LoaderOptions& loading,
                             logging::Trace& trace) {
  const fs::path folder = run_folder_ / plan.folder;
  const data::SliceLoader loader(parts_.data.train, loading);
  checkpoint::CheckpointStore store(folder / "checkpoints", options_.checkpoint, run_identity(stage, plan),
                                    parts_.communicator, parts_.console);
  store.check_writable(checkpoint_bytes(stage));
  logging::RunLog log(parts_.console, folder, options_.logging.tensorboard);
  parts_.console.info(fmt::format("{}: {} steps of {} images, learning rate {:.3g} (scaling: {}), in {}", plan.title,
                                  plan.num_steps, plan.global_batch, plan.schedule.base,
                                  base::name_of(options_.training.learning_rate_scaling), folder.string()));
  if (plan.global_batch < parts_.communicator.size()) {
    parts_.console.info(fmt::format("  {} of {} ranks have no image in any step: the global batch is {}",
                                    parts_.communicator.size() - plan.global_batch, parts_.communicator.size(),
                                    plan.global_batch));
  }
  const StageContext stage_context = context(plan.seed, &trace);
  const LoopOptions loop_options{options_.logging, options_.checkpoint_schedule, options_.data.queue_depth};
  TrainingLoop loop(plan, {.stage = stage,
                           .context = stage_context,
                           .options = loop_options,
                           .loader = loader,
                           .store = store,
                           .log = log,
                           .stop_requested = [this] { return parts_.stops.requested(); }});
  return loop.run();
}

StopRequest JobStages::pretrain() {
  const TrainingPlan plan = pretrain_plan(options_);
  const fs::path folder = run_folder_ / plan.folder;
  const language::Vocabulary vocabulary = language::load_vocabulary(options_.pretrain.vocabulary.file);
  parts_.console.info(fmt::format("vocabulary: {} words x {} from {}, hash {}", vocabulary.size(),
                                  vocabulary.embeddings.size(1), vocabulary.source, vocabulary.hash));
  const auto trace = open_trace(options_.logging, folder, parts_.communicator, parts_.console);
  PretrainStage stage(context(plan.seed, trace.get()), options_.pretrain, plan, vocabulary, word_scores(vocabulary));
  const StopRequest stop = train(stage, plan, pretrain_loader(options_, settings_.dtype), *trace);
  if (stop == StopRequest::none && parts_.communicator.rank() == 0) {
    model_files::save_autoencoder(folder / "autoencoder.safetensors", stage.autoencoder(), window_, vocabulary.hash,
                                  language::ablation_record(options_.pretrain.vocabulary.ablation, plan.seed));
    draw_token_usage(folder, parts_.console);
  }
  parts_.communicator.barrier();
  if (stop == StopRequest::none && options_.evaluation.word_maps) {
    report_word_maps(stage, context(plan.seed), parts_.data.test, folder);
  }
  return stop;
}

StopRequest JobStages::train_denoiser(const DenoiserTraining& training) {
  const TrainingPlan plan = denoiser_plan(options_, training);
  const fs::path folder = run_folder_ / plan.folder;
  const auto trace = open_trace(options_.logging, folder, parts_.communicator, parts_.console);
  DenoiserStage stage(context(plan.seed, trace.get()), options_.denoise, plan, training.leda_weight,
                      autoencoder_for(training));
  const StopRequest stop = train(stage, plan, denoiser_loader(options_, plan.seed, settings_.dtype), *trace);
  if (stop == StopRequest::none && parts_.communicator.rank() == 0) {
    model_files::save_denoiser(folder / "denoiser.safetensors", stage.tensors(),
                               {options_.denoise.denoiser, window_, training.seed, training.leda_weight});
  }
  parts_.communicator.barrier();
  return stop;
}

// Stopped, it leaves nothing behind and begins again at the next start.
StopRequest JobStages::evaluate() {
  const logging::ActivityScope time(&parts_.ledger, logging::Activity::evaluation);
  std::vector<evaluation::Method> methods;
  for (const DenoiserTraining& training : denoiser_trainings(options_)) {
    const auto denoiser = std::make_shared<const inference::DenoiserInference>(
        run_folder_ / training.folder / "denoiser.safetensors", settings_);
    methods.push_back({training.row, static_cast<std::int64_t>(training.seed),
                       [denoiser](const at::Tensor& low_dose_hu) { return denoiser->denoise_hu(low_dose_hu); }});
  }
  parts_.console.info("evaluation");
  StopRequest stop = StopRequest::none;
  const std::optional<evaluation::EvaluationResult> result =
      parts_.stops.run_stoppable(stop, [&](const auto& should_stop) {
        return evaluation::evaluate(
            parts_.data.test, parts_.data.validation, methods,
            {.window = window_, .max_tuning_slices = options_.evaluation.max_tuning_slices, .should_stop = should_stop},
            parts_.communicator, parts_.console);
      });
  if (!result) return stop;
  if (parts_.communicator.rank() == 0) {
    const fs::path folder = run_folder_ / "evaluation";
    evaluation::write_evaluation(folder, *result);
    parts_.communicator.note("evaluation, picture");
    evaluation::write_comparison_picture(
        folder / "comparison.png", parts_.data.test, methods,
        {.window = window_, .display = ct::window_of(options_.evaluation.picture_window)});
  }
  parts_.communicator.barrier();
  // Of a job of a few steps, a trial of the set-up say, the table says it and that is all.
  if (!is_past_grace_period(options_.denoise.training.num_steps, options_.training)) return StopRequest::none;
  for (const evaluation::MethodFigures& row : result->rows) {
    if (row.dead_seeds.empty()) continue;
    throw base::ErrorOnAllRanks(
        ExitCode::non_finite,
        {.what = fmt::format("the denoiser '{}' of seed {} died: it takes away none of the noise", row.name,
                             row.dead_seeds.front()),
         .value = "the table in " + (run_folder_ / "evaluation").string() + " says so",
         .why = "such a network denoises nothing",
         .remedy = "train longer, lower denoiser.learning_rate or denoiser.input_scale, or take another run.seed"});
  }
  return StopRequest::none;
}

// What stage 2 will refuse is refused before stage 1 has taken its time.
void JobStages::check_data() const {
  const int downsampling = 1 << (options_.pretrain.autoencoder.multipliers.size() - 1);
  const std::string autoencoder = "the autoencoder";
  if (has_stage(options_, JobStage::pretrain))
    check_image_sides(parts_.data.train, 0, downsampling, downsampling, autoencoder);
  if (denoiser_trainings(options_).empty()) return;
  const std::unique_ptr<models::Denoiser> denoiser = models::make_denoiser(options_.denoise.denoiser, settings_);
  const data::SliceLoader loader(parts_.data.train, denoiser_loader(options_, options_.run.seed, settings_.dtype));
  const std::int64_t crop = options_.denoise.training.crop;
  check_image_sides(parts_.data.train, 0, denoiser->size_multiple(), denoiser->smallest_size(), "the denoiser");
  check_image_sides(parts_.data.train, crop, denoiser->size_multiple(), denoiser->smallest_size(), "the denoiser");
  const bool own_autoencoder = has_stage(options_, JobStage::denoise) && options_.denoise.leda.autoencoder.empty();
  if (own_autoencoder && options_.denoise.leda.weight != 0.0) {
    check_image_sides(parts_.data.train, crop, downsampling, downsampling, autoencoder);
  }
}

StopRequest JobStages::run() {
  check_data();
  if (has_stage(options_, JobStage::pretrain)) {
    if (const StopRequest stop = pretrain(); stop != StopRequest::none) return stop;
  }
  for (const DenoiserTraining& training : denoiser_trainings(options_)) {
    if (const StopRequest stop = train_denoiser(training); stop != StopRequest::none) return stop;
  }
  if (!has_stage(options_, JobStage::evaluate)) return StopRequest::none;
  const StopRequest stop = parts_.stops.agreed();
  return stop != StopRequest::none ? stop : evaluate();
}

// One step's data loaded, one checkpoint written, read and removed.
void JobStages::check_stage(Stage& stage, const TrainingPlan& plan, const data::LoaderOptions& loading) {
  const data::SliceLoader loader(parts_.data.train, loading);
  const data::EpochOrder order(parts_.data.train.num_slices(), plan.seed);
  const data::BatchPlan batches{plan.global_batch, plan.global_batch, parts_.communicator.rank(),
                                parts_.communicator.size()};
  data::load_step(loader, order, batches, 0);
  const fs::path folder = run_folder_ / "dry_run";
  checkpoint::CheckpointStore store(folder, options_.checkpoint, run_identity(stage, plan), parts_.communicator,
                                    parts_.console);
  store.check_writable(checkpoint_bytes(stage));
  StageState state = stage.state();
  checkpoint::CheckpointContent content;
  content.archives["networks"] = std::move(state.networks);
  content.archives["optimisers"] = std::move(state.optimisers);
  content.state_json = "{}";
  store.save_last(0, content, "");
  store.load_step(0);
  parts_.communicator.barrier();
  if (parts_.communicator.rank() == 0) fs::remove_all(folder);
  parts_.communicator.barrier();
  parts_.console.info(fmt::format("{}: data, networks, and a checkpoint written and read: in order", plan.title));
}

void JobStages::check_without_training() {
  check_data();
  if (has_stage(options_, JobStage::pretrain)) {
    const language::Vocabulary vocabulary = language::load_vocabulary(options_.pretrain.vocabulary.file);
    const TrainingPlan plan = pretrain_plan(options_);
    PretrainStage stage(context(plan.seed), options_.pretrain, plan, vocabulary, word_scores(vocabulary));
    check_stage(stage, plan, pretrain_loader(options_, settings_.dtype));
  }
  for (const DenoiserTraining& training : denoiser_trainings(options_)) {
    const bool is_autoencoder_there = fs::exists(autoencoder_path());
    if (training.leda_weight != 0.0 && !is_autoencoder_there && !has_stage(options_, JobStage::pretrain))
      autoencoder_for(training);
    const double weight = is_autoencoder_there ? training.leda_weight : 0.0;
    const TrainingPlan plan = denoiser_plan(options_, training);
    DenoiserStage stage(context(plan.seed), options_.denoise, plan, weight,
                        weight != 0.0 ? autoencoder_for(training) : std::optional<model_files::AutoencoderFile>{});
    check_stage(stage, plan, denoiser_loader(options_, plan.seed, settings_.dtype));
  }
}

}  // namespace leda::training
