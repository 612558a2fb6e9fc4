#include "training/run/job.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/choice.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/stop_signal.hpp"
#include "checkpoint/run_folder.hpp"
#include "distributed/core/stop_agreement.hpp"
#include "distributed/start/launch_sanity.hpp"
#include "evaluation/comparison_picture.hpp"
#include "evaluation/evaluation.hpp"
#include "evaluation/evaluation_report.hpp"
#include "inference/denoiser_inference.hpp"
#include "language/codebook_control.hpp"
#include "language/vocabulary.hpp"
#include "logging/goodput_ledger.hpp"
#include "model_files/autoencoder_file.hpp"
#include "model_files/denoiser_file.hpp"
#include "storage/durable_file.hpp"
#include "training/loop/training_loop.hpp"
#include "training/options/machine_facts.hpp"
#include "training/options/time_limit.hpp"
#include "training/run/batch_job.hpp"
#include "training/run/denoiser_phase.hpp"
#include "training/run/device_placement.hpp"
#include "training/run/job_data.hpp"
#include "training/run/phase_trace.hpp"
#include "training/run/run_ledger.hpp"
#include "training/run/run_options_file.hpp"
#include "training/stages/denoiser_stage.hpp"
#include "training/stages/pretrain_report.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

namespace fs = std::filesystem;
using base::ExitCode;
using base::StopRequest;

constexpr const char* kPretrainFolder = "pretrain";
constexpr double kLifeSeconds = 10.0;  // between signs of life in the ledger
// Collectives on GPUs have the time that all others have.
distributed::DeviceOptions device_options(const JobOptions& options, distributed::RankWatch& watch) {
  distributed::DeviceOptions devices = options.devices;
  devices.timeout_seconds = options.watch.timeout_seconds;
  devices.last_word = [&watch](const std::string& fault) { return watch.last_word(fault); };
  return devices;
}

// A checkpoint goes on with the same networks, data order and random numbers.
std::string run_identity(const Stage& stage, const LoopPlan& plan) {
  return fmt::format("{}; seed {}, global batch {}", stage.identity(), plan.seed, plan.global_batch);
}

// What a job is given to work with; it outlives the job.
struct JobSurroundings {
  distributed::Communicator& communicator;
  distributed::RankWatch& watch;
  logging::Console& console;
  logging::GoodputLedger& ledger;
  TimeLimit& time_limit;
};

class Job {
 public:
  Job(const JobOptions& options, fs::path run_folder, const JobSurroundings& around)
      : options_(options),
        placement_(options.run.device, around.communicator, device_options(options, around.watch)),
        communicator_(placement_.communicator()),
        console_(around.console),
        run_folder_(std::move(run_folder)),
        ledger_(around.ledger),
        time_limit_(around.time_limit),
        window_(ct::window_of(options.data.window)),
        settings_{options.training.precision == Precision::float64 ? at::kDouble : at::kFloat, placement_.device(),
                  options.run.seed} {}

  // Before all else: the data is written where it is missing, and opened, unless a stop is agreed on meanwhile.
  // The value of work(should_stop), which asks on every rank after each of its rounds; `stop` is what they agreed on.
  template <typename Work>
  auto run_stoppable(StopRequest& stop, const Work& work) {
    distributed::StopAgreement agreement(communicator_);
    auto value = work([&] {
      ledger_.note_life(kLifeSeconds);
      stop = agreement.exchange(requested_stop());
      return stop != StopRequest::none;
    });
    agreement.drain();  // what is under way may not outlive the agreement
    return value;
  }
  StopRequest prepare_data();
  ExitCode leave(StopRequest stop);
  ExitCode run();
  void check_without_training();

 private:
  StageContext context(std::uint64_t seed, logging::Trace* trace = nullptr) const {
    models::TensorSettings settings = settings_;
    settings.seed = seed;
    return {options_, communicator_, console_, data_->validation, window_, settings, trace, &ledger_, &time_limit_};
  }
  std::optional<language::WordScores> word_scores(const language::Vocabulary& vocabulary) const {
    return load_word_scores(options_.words, vocabulary, data_->train, communicator_, console_);
  }
  StopRequest requested_stop() const {
    const StopRequest by_signal = base::requested_stop();
    return by_signal == StopRequest::none && time_limit_.is_near() ? StopRequest::run_again : by_signal;
  }
  // The same on every rank. Collective.
  StopRequest agreed_stop() const {
    distributed::StopAgreement agreement(communicator_);
    agreement.exchange(requested_stop());
    return agreement.drain();
  }
  fs::path autoencoder_path() const {
    return options_.leda.autoencoder.empty() ? run_folder_ / kPretrainFolder / "autoencoder.safetensors"
                                             : fs::path(options_.leda.autoencoder);
  }

  void check_data() const;
  data::LoaderOptions pretrain_loader() const;
  data::LoaderOptions denoiser_loader(std::uint64_t seed) const;
  LoopPlan pretrain_plan() const;
  LoopPlan denoiser_plan(const DenoiserPhase& phase) const;
  std::optional<model_files::AutoencoderFile> autoencoder_for(const DenoiserPhase& phase) const;
  StopRequest train(Stage& stage, const LoopPlan& plan, const data::LoaderOptions& loading, const fs::path& folder,
                    logging::Trace& trace);
  StopRequest pretrain();
  StopRequest train_denoiser(const DenoiserPhase& phase);
  StopRequest evaluate();
  void check_stage(Stage& stage, const LoopPlan& plan, const data::LoaderOptions& loading);

  const JobOptions& options_;
  DevicePlacement placement_;
  distributed::Communicator& communicator_;  // placement's
  logging::Console& console_;
  fs::path run_folder_;
  logging::GoodputLedger& ledger_;
  TimeLimit& time_limit_;
  ct::Window window_;
  models::TensorSettings settings_;
  std::optional<JobData> data_;  // once it is prepared
};

data::LoaderOptions Job::pretrain_loader() const {
  return {.window = window_,
          .dtype = settings_.dtype,
          .flips = options_.autoencoder_training.flips,
          .needs_tissue = true,
          .seed = options_.run.seed};
}

data::LoaderOptions Job::denoiser_loader(std::uint64_t seed) const {
  return {.window = window_,
          .dtype = settings_.dtype,
          .crop = static_cast<int>(options_.denoiser_training.crop),
          .flips = options_.denoiser_training.augment,
          .rotations = options_.denoiser_training.augment,
          .needs_low_dose = true,
          .seed = seed};
}

LoopPlan Job::pretrain_plan() const {
  const AutoencoderTrainingOptions& training = options_.autoencoder_training;
  const std::int64_t batch = global_batch_of(training.global_batch, options_.training);
  return {"stage 1",
          training.num_steps,
          batch,
          schedule_of(training.learning_rate, training.num_steps, batch, options_.training),
          options_.run.seed,
          kPretrainFolder};
}

LoopPlan Job::denoiser_plan(const DenoiserPhase& phase) const {
  const DenoiserTrainingOptions& training = options_.denoiser_training;
  const std::int64_t batch = global_batch_of(training.global_batch, options_.training);
  const std::string title = fmt::format(
      "stage 2 {}{}", phase.row, options_.run.num_denoiser_seeds > 1 ? fmt::format(", seed {}", phase.seed) : "");
  return {title,      training.num_steps,
          batch,      schedule_of(training.learning_rate, training.num_steps, batch, options_.training),
          phase.seed, phase.folder};
}

std::optional<model_files::AutoencoderFile> Job::autoencoder_for(const DenoiserPhase& phase) const {
  if (phase.leda_weight == 0.0) return std::nullopt;
  const fs::path path = autoencoder_path();
  if (!fs::exists(path)) {
    throw base::ErrorOnAllRanks(ExitCode::data, {.what = "the LEDA loss has no autoencoder",
                                                 .value = path.string() + " does not exist",
                                                 .why = "stage 2 compares images in its latent space",
                                                 .remedy = "add pretrain to run.stages, name a file with "
                                                           "leda.autoencoder, or set leda.weight to 0"});
  }
  model_files::AutoencoderFile file =
      model_files::load_autoencoder(path, settings_, options_.autoencoder.vocabulary_tile);
  // A file of one's own choice may speak any vocabulary; the run's own stage 1 must have spoken this one.
  if (options_.leda.autoencoder.empty()) {
    model_files::require_vocabulary(file, path, language::load_vocabulary(options_.vocabulary.file).hash,
                                    language::control_record(options_.vocabulary.control, options_.run.seed));
  }
  return file;
}

StopRequest Job::train(Stage& stage, const LoopPlan& plan, const data::LoaderOptions& loading, const fs::path& folder,
                       logging::Trace& trace) {
  const data::SliceLoader loader(data_->train, loading);
  checkpoint::CheckpointStore store(folder / "checkpoints", options_.checkpoint, run_identity(stage, plan),
                                    communicator_, console_);
  store.check_writable(checkpoint_bytes(stage));
  logging::RunLog log(console_, folder, options_.logging.tensorboard);
  console_.say(fmt::format("{}: {} steps of {} images, learning rate {:.3g} (scaling: {}), in {}", plan.title,
                           plan.num_steps, plan.global_batch, plan.schedule.base,
                           base::name_of(options_.training.learning_rate_scaling), folder.string()));
  if (plan.global_batch < communicator_.size()) {
    console_.say(fmt::format("  {} of {} ranks have no image in any step: the global batch is {}",
                             communicator_.size() - plan.global_batch, communicator_.size(), plan.global_batch));
  }
  const StageContext stage_context = context(plan.seed, &trace);
  TrainingLoop loop(plan, {.stage = stage,
                           .context = stage_context,
                           .loader = loader,
                           .store = store,
                           .log = log,
                           .stop_requested = [this] { return requested_stop(); }});
  return loop.run();
}

StopRequest Job::pretrain() {
  const fs::path folder = run_folder_ / kPretrainFolder;
  const language::Vocabulary vocabulary = language::load_vocabulary(options_.vocabulary.file);
  console_.say(fmt::format("vocabulary: {} words x {} from {}, hash {}", vocabulary.size(),
                           vocabulary.embeddings.size(1), vocabulary.source, vocabulary.hash));
  const auto trace = open_trace(options_.logging, folder, communicator_, console_);
  PretrainStage stage(context(options_.run.seed, trace.get()), vocabulary, word_scores(vocabulary));
  const StopRequest stop = train(stage, pretrain_plan(), pretrain_loader(), folder, *trace);
  if (stop == StopRequest::none && communicator_.rank() == 0) {
    model_files::save_autoencoder(folder / "autoencoder.safetensors", stage.autoencoder(), window_, vocabulary.hash,
                                  language::control_record(options_.vocabulary.control, options_.run.seed));
    draw_token_usage(folder, console_);
  }
  communicator_.barrier();
  if (stop == StopRequest::none && options_.evaluation.word_maps) {
    report_word_maps(stage, context(options_.run.seed), data_->test, folder);
  }
  return stop;
}

StopRequest Job::train_denoiser(const DenoiserPhase& phase) {
  const fs::path folder = run_folder_ / phase.folder;
  const auto trace = open_trace(options_.logging, folder, communicator_, console_);
  DenoiserStage stage(context(phase.seed, trace.get()), phase.leda_weight, autoencoder_for(phase));
  const StopRequest stop = train(stage, denoiser_plan(phase), denoiser_loader(phase.seed), folder, *trace);
  if (stop == StopRequest::none && communicator_.rank() == 0) {
    model_files::save_denoiser(folder / "denoiser.safetensors", stage.tensors(),
                               {options_.denoiser, window_, phase.seed, phase.leda_weight});
  }
  communicator_.barrier();
  return stop;
}

// Stopped, it leaves nothing behind and begins again at the next start.
StopRequest Job::evaluate() {
  const logging::TimeIn time(&ledger_, logging::Activity::evaluation);
  std::vector<evaluation::Method> methods;
  for (const DenoiserPhase& phase : denoiser_phases(options_)) {
    const auto denoiser = std::make_shared<const inference::DenoiserInference>(
        run_folder_ / phase.folder / "denoiser.safetensors", settings_);
    methods.push_back({phase.row, static_cast<std::int64_t>(phase.seed),
                       [denoiser](const at::Tensor& low_dose_hu) { return denoiser->denoise_hu(low_dose_hu); }});
  }
  console_.say("evaluation");
  StopRequest stop = StopRequest::none;
  const std::optional<evaluation::EvaluationResult> result = run_stoppable(stop, [&](const auto& should_stop) {
    return evaluation::evaluate(
        data_->test, data_->validation, methods,
        {.window = window_, .max_tuning_slices = options_.evaluation.max_tuning_slices, .should_stop = should_stop},
        communicator_, console_);
  });
  if (!result) return stop;
  if (communicator_.rank() == 0) {
    const fs::path folder = run_folder_ / "evaluation";
    evaluation::write_evaluation(folder, *result);
    communicator_.note("evaluation, picture");
    evaluation::write_comparison_picture(
        folder / "comparison.png", data_->test, methods,
        {.window = window_, .display = ct::window_of(options_.evaluation.picture_window)});
  }
  communicator_.barrier();
  // Of a job of a few steps, a trial of the set-up say, the table says it and that is all.
  if (!has_had_its_chance(options_.denoiser_training.num_steps, options_.training)) return StopRequest::none;
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
void Job::check_data() const {
  const int downsampling = 1 << (options_.autoencoder.multipliers.size() - 1);
  const std::string autoencoder = "the autoencoder";
  if (has_stage(options_, JobStage::pretrain))
    check_image_sides(data_->train, 0, downsampling, downsampling, autoencoder);
  if (denoiser_phases(options_).empty()) return;
  const std::unique_ptr<models::Denoiser> denoiser = models::make_denoiser(options_.denoiser, settings_);
  const data::SliceLoader loader(data_->train, denoiser_loader(options_.run.seed));
  const std::int64_t crop = options_.denoiser_training.crop;
  check_image_sides(data_->train, 0, denoiser->size_multiple(), denoiser->smallest_size(), "the denoiser");
  check_image_sides(data_->train, crop, denoiser->size_multiple(), denoiser->smallest_size(), "the denoiser");
  const bool own_autoencoder = has_stage(options_, JobStage::denoise) && options_.leda.autoencoder.empty();
  if (own_autoencoder && options_.leda.weight != 0.0) {
    check_image_sides(data_->train, crop, downsampling, downsampling, autoencoder);
  }
}

ExitCode exit_code_of(StopRequest stop) {
  switch (stop) {
    case StopRequest::run_again:
      return ExitCode::saved_run_again;
    case StopRequest::do_not_restart:
      return ExitCode::saved_do_not_restart;
    case StopRequest::none:
      break;
  }
  return ExitCode::finished;
}

ExitCode Job::leave(StopRequest stop) {
  console_.say(stop == StopRequest::run_again ? "stopped and saved: start the same command again to go on"
                                              : "stopped and saved, on request; the same command goes on from here");
  return exit_code_of(stop);
}

StopRequest Job::prepare_data() {
  require_one_instruction_set(communicator_, placement_.device());
  StopRequest stop = StopRequest::none;
  const bool is_prepared = run_stoppable(
      stop, [&](const auto& should_stop) { return prepare_job_data(options_, communicator_, console_, should_stop); });
  if (!is_prepared) return stop;
  data_ = open_job_data(options_, communicator_, console_);
  return agreed_stop();  // asked for while libraries were loaded, or in the last round
}

ExitCode Job::run() {
  check_data();
  if (has_stage(options_, JobStage::pretrain)) {
    if (const StopRequest stop = pretrain(); stop != StopRequest::none) return leave(stop);
  }
  for (const DenoiserPhase& phase : denoiser_phases(options_)) {
    if (const StopRequest stop = train_denoiser(phase); stop != StopRequest::none) return leave(stop);
  }
  if (has_stage(options_, JobStage::evaluate)) {
    if (const StopRequest stop = agreed_stop(); stop != StopRequest::none) return leave(stop);
    if (const StopRequest stop = evaluate(); stop != StopRequest::none) return leave(stop);
  }
  return ExitCode::finished;
}

// One step's data loaded, one checkpoint written, read and removed.
void Job::check_stage(Stage& stage, const LoopPlan& plan, const data::LoaderOptions& loading) {
  const data::SliceLoader loader(data_->train, loading);
  const data::EpochOrder order(data_->train.num_slices(), plan.seed);
  const data::BatchPlan batches{plan.global_batch, plan.global_batch, communicator_.rank(), communicator_.size()};
  data::load_step(loader, order, batches, 0);
  const fs::path folder = run_folder_ / "dry_run";
  checkpoint::CheckpointStore store(folder, options_.checkpoint, run_identity(stage, plan), communicator_, console_);
  store.check_writable(checkpoint_bytes(stage));
  StageState state = stage.state();
  checkpoint::CheckpointContent content;
  content.archives["networks"] = std::move(state.networks);
  content.archives["optimisers"] = std::move(state.optimisers);
  content.state_json = "{}";
  store.save_last(0, content, "");
  store.load_step(0);
  communicator_.barrier();
  if (communicator_.rank() == 0) fs::remove_all(folder);
  communicator_.barrier();
  console_.say(fmt::format("{}: data, networks, and a checkpoint written and read: in order", plan.title));
}

void Job::check_without_training() {
  check_data();
  if (has_stage(options_, JobStage::pretrain)) {
    const language::Vocabulary vocabulary = language::load_vocabulary(options_.vocabulary.file);
    PretrainStage stage(context(options_.run.seed), vocabulary, word_scores(vocabulary));
    check_stage(stage, pretrain_plan(), pretrain_loader());
  }
  for (const DenoiserPhase& phase : denoiser_phases(options_)) {
    const bool is_autoencoder_there = fs::exists(autoencoder_path());
    if (phase.leda_weight != 0.0 && !is_autoencoder_there && !has_stage(options_, JobStage::pretrain))
      autoencoder_for(phase);
    const double weight = is_autoencoder_there ? phase.leda_weight : 0.0;
    DenoiserStage stage(context(phase.seed), weight,
                        weight != 0.0 ? autoencoder_for(phase) : std::optional<model_files::AutoencoderFile>{});
    check_stage(stage, denoiser_plan(phase), denoiser_loader(phase.seed));
  }
}

// What a finished run was asked for: with more of it asked for, it is not finished any more.
nlohmann::json extent_of(const JobOptions& options) {
  std::vector<std::string> stages;
  for (const JobStage stage : options.run.stages) stages.push_back(base::name_of(stage));
  return {{"stages", stages},
          {"autoencoder.num_steps", options.autoencoder_training.num_steps},
          {"denoiser.num_steps", options.denoiser_training.num_steps},
          {"num_denoiser_seeds", options.run.num_denoiser_seeds}};
}

bool is_finished(const fs::path& run_folder, const JobOptions& options, distributed::Communicator& communicator) {
  std::string text;
  if (communicator.rank() == 0 && fs::exists(run_folder / "finished.json")) {
    text = storage::read_text_file(run_folder / "finished.json");
  }
  text = distributed::broadcast_text(communicator, text, 0);
  const auto finished = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  return finished.is_object() && finished.value("extent", nlohmann::json()) == extent_of(options);
}

void say_results(const fs::path& run_folder, logging::Console& console) {
  const fs::path table = run_folder / "evaluation" / "evaluation.txt";
  if (!console.speaks() || !fs::exists(table)) return;
  console.print("\n" + storage::read_text_file(table));
  console.print(fmt::format("picture: {}", fs::absolute(run_folder / "evaluation" / "comparison.png").string()));
}

}  // namespace

ExitCode report_job(const JobOptions& options, distributed::Communicator& communicator, logging::Console& console) {
  const fs::path run_folder = checkpoint::choose_run_folder(options.run.folder, false, communicator);
  if (!fs::exists(run_folder / "options.cfg")) {
    throw base::ErrorOnAllRanks(ExitCode::options, {.what = "there is no run to report on",
                                                    .value = run_folder.string(),
                                                    .why = "",
                                                    .remedy = "name its folder with run.folder, or start one"});
  }
  console.print(fmt::format("run in {}: {}", run_folder.string(),
                            is_finished(run_folder, options, communicator) ? "finished" : "not finished"));
  say_results(run_folder, console);
  say_goodput(run_folder, console);
  return ExitCode::finished;
}

ExitCode run_job(const JobOptions& options, const OptionValues& values, const JobActions& actions,
                 distributed::Communicator& communicator, distributed::RankWatch& watch, logging::Console& console) {
  require_equal_options(values, communicator);
  const fs::path run_folder = checkpoint::choose_run_folder(options.run.folder, actions.new_run, communicator);
  watch.watch(run_folder / "events", options.watch.timeout_seconds);
  if (!actions.dry_run && is_finished(run_folder, options, communicator)) {
    keep_run_options(run_folder, values, communicator);
    console.say(fmt::format("the run in {} is finished; --new-run starts another", run_folder.string()));
    say_results(run_folder, console);
    return ExitCode::finished;
  }
  const checkpoint::RunFolderLock lock(run_folder, communicator, console);
  distributed::check_launch(communicator, {.run_folder = run_folder, .num_threads = at::get_num_threads()},
                            actions.dry_run, console);
  console.say(fmt::format("run folder {}; options:", fs::absolute(run_folder).string()));
  for (const OptionValue& option : values) console.say(fmt::format("  {} = {}", option.name, option.value));
  if (!actions.dry_run) keep_run_options(run_folder, values, communicator);

  const BatchJob this_batch_job = batch_job([](const char* name) -> const char* { return std::getenv(name); });
  const auto ledger = actions.dry_run ? std::make_unique<logging::GoodputLedger>()
                                      : open_ledger(run_folder, this_batch_job, communicator, console);
  TimeLimit time_limit({.max_seconds = options.run.max_seconds,
                        .end_of_nodes = this_batch_job.end,
                        .margin_seconds = options.run.margin_seconds},
                       base::unix_seconds);
  Job job(options, run_folder, {communicator, watch, console, *ledger, time_limit});
  if (const StopRequest stop = job.prepare_data(); stop != StopRequest::none) {
    const ExitCode code = job.leave(stop);
    ledger->finish(static_cast<int>(code));
    return code;
  }
  if (actions.dry_run) {
    job.check_without_training();
    console.print("dry run: everything a run needs is in order");
    return ExitCode::finished;
  }
  const ExitCode code = job.run();
  if (code != ExitCode::finished) {
    ledger->finish(static_cast<int>(code));
    return code;
  }
  if (communicator.rank() == 0) {
    const nlohmann::json finished = {{"finished", base::utc_now()}, {"extent", extent_of(options)}};
    storage::write_file_durably(run_folder / "finished.json", finished.dump(2) + "\n");
  }
  ledger->finish(static_cast<int>(code));
  say_results(run_folder, console);
  communicator.barrier();
  return code;
}

}  // namespace leda::training
