#include "training/stages/denoiser_stage.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "data/shards/rank_walk.hpp"
#include "evaluation/dead_network.hpp"
#include "evaluation/image_metrics.hpp"
#include "evaluation/prepared_slice.hpp"
#include "language/vocabulary.hpp"
#include "losses/leda_loss.hpp"
#include "model_files/network_state.hpp"
#include "training/stages/patient_means.hpp"

namespace leda::training {
namespace {

// Updates after warm-up before a network is judged: one that still copies its input is dead, one that is far worse than
// the low dose has diverged. A fresh network may be either.
constexpr std::int64_t kGraceSteps = 200;

std::string token_name(std::int64_t level) { return fmt::format("token_agreement_level_{}", level + 1); }

losses::TokenTermOptions token_term_of(const LedaOptions& leda) {
  return {.term = leda.token_term, .temperature = leda.token_temperature};
}

AdamOptions adam_of(const DenoiserTrainingOptions& training) { return {training.beta1, training.beta2}; }

}  // namespace

bool is_past_grace_period(std::int64_t step, const TrainingOptions& training) {
  return step >= training.num_warm_up_steps + kGraceSteps;
}

DenoiserStage::DenoiserStage(const StageContext& context, const DenoiseOptions& options, const TrainingPlan& plan,
                             double leda_weight, std::optional<model_files::AutoencoderFile> autoencoder)
    : context_(context),
      options_(options),
      pixel_losses_(losses::pixel_losses_of(options.training.losses)),
      leda_weight_(leda_weight),
      autoencoder_(std::move(autoencoder)),
      denoiser_(models::make_denoiser(options.denoiser, context.settings)),
      trained_({"denoiser."}, denoiser_->tensors(), adam_of(options.training), plan.schedule, context) {
  const std::int64_t crop = options_.training.crop;
  check_image_sides(context_.validation, 0, denoiser_->size_multiple(), denoiser_->smallest_size(), "the denoiser");
  check_image_sides(context_.validation, crop, denoiser_->size_multiple(), denoiser_->smallest_size(), "the denoiser");
  if (!autoencoder_) return;
  check_image_sides(context_.validation, crop, autoencoder_->autoencoder->downsampling(),
                    autoencoder_->autoencoder->downsampling(), "the autoencoder");
  if (autoencoder_->window != context_.window) {
    throw base::ErrorOnAllRanks(base::ExitCode::options,
                                {.what = "leda.autoencoder was trained in another window than data.window",
                                 .value = fmt::format("{}, against {}", ct::window_name(autoencoder_->window),
                                                      ct::window_name(context_.window)),
                                 .why = "it would see intensities it never learned",
                                 .remedy = "set data.window to the autoencoder's, or pretrain one in this window"});
  }
  const auto num_levels = static_cast<std::int64_t>(autoencoder_->autoencoder->options().strides.size());
  token_agreement_ = at::zeros({num_levels, 2}, at::TensorOptions(at::kLong).device(context_.settings.device));
}

at::Tensor DenoiserStage::loss(const ct::ImageBatch& batch, double global_count, std::size_t micro_batch,
                               StepReport& report) {
  const at::Tensor low_dose = batch.low_dose.to(context_.settings.device);
  const at::Tensor normal_dose = batch.normal_dose.to(context_.settings.device);
  const at::Tensor denoised = denoiser_->denoise(low_dose);
  at::Tensor pixel;
  for (const losses::WeightedPixelLoss& term : pixel_losses_) {
    const at::Tensor value = term.loss.per_image(denoised, normal_dose).sum() / global_count;
    report.add(term.loss.name, micro_batch, value);
    pixel = pixel.defined() ? pixel + term.weight * value : term.weight * value;
  }
  at::Tensor total = pixel;
  if (autoencoder_) {
    const LedaOptions& leda = options_.leda;
    const losses::LedaTerms terms =
        losses::leda_loss(*autoencoder_->autoencoder, denoised, normal_dose, token_term_of(leda));
    const at::Tensor token = terms.token.sum() / global_count;
    const at::Tensor feature = terms.feature.sum() / global_count;
    total = total + leda_weight_ * (leda.token_weight * token + feature);
    report.add("leda_token", micro_batch, token);
    report.add("leda_feature", micro_batch, feature);
    token_agreement_ += terms.token_agreement;
    if (term_gradients_) term_gradients_->add({pixel, token, feature}, denoised);
  }
  report.add("loss", micro_batch, total);
  return total;
}

LossReport DenoiserStage::train_step(const data::StepBatch& batch, bool is_logged) {
  const std::size_t num_micro_batches = num_micro_batches_of(batch, context_.distributed.reproducible);
  std::vector<std::string> names{"loss"};
  for (const losses::WeightedPixelLoss& term : pixel_losses_) names.emplace_back(term.loss.name);
  if (autoencoder_) names.insert(names.end(), {"leda_token", "leda_feature"});
  names.insert(names.end(), {"gradient_norm", kSkippedUpdates});
  StepReport report(std::move(names), batch, context_.communicator, context_.distributed.reproducible,
                    context_.settings.device);
  term_gradients_.reset();
  if (autoencoder_ && is_logged) {
    const double token_weight = leda_weight_ * options_.leda.token_weight;
    term_gradients_.emplace(
        std::vector<TermGradients::Term>{{"pixel", 1.0}, {"leda_token", token_weight}, {"leda_feature", leda_weight_}},
        batch.global_count, context_.communicator, context_.settings.device);
  }
  trained_.begin_step(batch, num_micro_batches);
  for (std::size_t i = 0; i < num_micro_batches; ++i) {
    const at::Tensor total = loss(batch.micro_batches[i], static_cast<double>(batch.global_count), i, report);
    trained_.accumulate(total, i + 1 == num_micro_batches);
  }
  const Update update = trained_.update();
  report.set_shared("gradient_norm", update.gradient_norm);
  report.set_shared(kSkippedUpdates, update.is_skipped);
  return report.entries();
}

std::vector<SkippedUpdates> DenoiserStage::collect_skipped_updates() {
  std::vector<SkippedUpdates> skipped;
  trained_.collect_skipped_updates(skipped);
  return skipped;
}

std::vector<logging::Scalar> DenoiserStage::interval_figures() {
  std::vector<logging::Scalar> figures;
  if (!autoencoder_) return figures;
  distributed::all_reduce(context_.communicator, token_agreement_);
  const at::Tensor counts = token_agreement_.cpu();
  for (std::int64_t level = 0; level < counts.size(0); ++level) {
    const auto agreeing = static_cast<double>(counts.accessor<std::int64_t, 2>()[level][0]);
    const auto positions = static_cast<double>(counts.accessor<std::int64_t, 2>()[level][1]);
    if (positions > 0) figures.push_back({token_name(level), agreeing / positions});
  }
  token_agreement_.zero_();
  if (term_gradients_) {
    for (logging::Scalar& ratio : term_gradients_->ratios()) figures.push_back(std::move(ratio));
    term_gradients_.reset();
  }
  return figures;
}

at::Tensor DenoiserStage::denoise(const at::Tensor& low_dose) const {
  const at::NoGradGuard no_grad;
  return denoiser_->denoise(low_dose.to(context_.settings.device));
}

// Inside the body and clipped to the window, as in the result table.
std::optional<ValidationReport> DenoiserStage::validate(std::int64_t step, const std::function<bool()>& should_stop) {
  const data::SliceLoader loader(context_.validation,
                                 {.window = context_.window, .dtype = context_.settings.dtype, .needs_low_dose = true});
  PatientMeans means(context_.validation, {"rmse_hu", "low_dose_rmse_hu"});
  evaluation::DeadNetworkSums dead_network_sums;
  const auto visit = [&](std::int64_t id) {
    const data::SampleRef sample{0, id};
    const ct::ImageBatch batch = loader.load({&sample, 1});
    const at::Tensor denoised = denoise(batch.low_dose).cpu();
    dead_network_sums.add(denoised, batch.low_dose, batch.normal_dose);
    const evaluation::PreparedSlice slice = evaluation::prepare_slice(context_.validation, id, context_.window);
    if (!slice.measurable) return;
    const at::Tensor denoised_hu = ct::to_hu(denoised[0][0].to(at::kDouble), context_.window);
    const auto rmse_hu = [&](const at::Tensor& image_hu) {
      return evaluation::rmse(evaluation::clipped_hu(image_hu, context_.window), slice.references_hu.front(),
                              slice.body);
    };
    means.add(id, {rmse_hu(denoised_hu), rmse_hu(slice.low_dose_hu)});
  };
  const data::RankWalk walk{.activity = "validation, slice", .should_stop = should_stop};
  if (!data::walk_by_rank(context_.validation.num_slices(), context_.communicator, walk, visit)) return std::nullopt;
  ValidationReport report{.figures = means.reduce(context_.communicator), .criterion_name = "RMSE inside the body"};
  report.criterion = report.figures.front().value;
  const bool past_grace_period = is_past_grace_period(step, context_.training);
  if (past_grace_period) report.untrained_criterion = report.figures.back().value;
  distributed::all_reduce(context_.communicator, dead_network_sums.sums());
  if (past_grace_period && dead_network_sums.is_dead()) {
    throw base::ErrorOnAllRanks(
        base::ExitCode::non_finite,
        {.what = fmt::format("the denoiser died: after {} steps it takes away none of the noise", step),
         .value = fmt::format("{:.2g} of (low dose - normal dose) is gone from its output", dead_network_sums.share()),
         .why = "its hidden units are off for every input; such a network does not recover",
         .remedy = "lower denoiser.learning_rate or denoiser.input_scale, lengthen training.num_warm_up_steps, or take "
                   "another run.seed"});
  }
  return report;
}

StageState DenoiserStage::state() const {
  StageState state;
  trained_.append_state(state);
  if (autoencoder_) {
    state.facts.emplace_back("autoencoder_checksum", autoencoder_->checksum);
    state.facts.emplace_back("codebook_hash", language::codebook_hash(autoencoder_->autoencoder->codebook()));
    state.facts.emplace_back("vocabulary_hash", autoencoder_->vocabulary_hash);
  }
  return state;
}

void DenoiserStage::load_state(const StageState& state) {
  for (const auto& [name, text] : state.facts) {
    if (name == "autoencoder_checksum" && autoencoder_ && text != autoencoder_->checksum) {
      throw base::ErrorOnAllRanks(base::ExitCode::data,
                                  {.what = "the autoencoder is not the one this run began with",
                                   .value = autoencoder_->checksum + ", the checkpoint says " + text,
                                   .why = "the loss would change in the middle of a run",
                                   .remedy = "restore the file that leda.autoencoder named, or use --new-run"});
    }
  }
  trained_.load_state(state);
}

std::string DenoiserStage::identity() const {
  return fmt::format("denoiser {} {}, {} LEDA", options_.denoiser.type,
                     model_files::network_identity(denoiser_->tensors()), autoencoder_ ? "with" : "without");
}

}  // namespace leda::training
