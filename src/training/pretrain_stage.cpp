#include "training/pretrain_stage.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "distributed/differentiable_sum.hpp"
#include "losses/adversarial_loss.hpp"
#include "losses/perceptual_loss.hpp"
#include "losses/reconstruction_loss.hpp"
#include "losses/semantic_loss.hpp"
#include "training/network_state.hpp"
#include "training/patient_means.hpp"

namespace leda::training {
namespace {

std::unique_ptr<models::PerceptualNetwork> make_perceptual(const JobOptions& options,
                                                           const models::TensorSettings& settings) {
  const AutoencoderTrainingOptions& training = options.autoencoder_training;
  if (training.perceptual_weight == 0.0) return nullptr;
  if (training.perceptual_weights.empty()) {
    throw base::ErrorOnAllRanks(
        base::ExitCode::options,
        {.what = "the perceptual loss has no weights: autoencoder.perceptual_weights",
         .value = fmt::format("empty, while autoencoder.perceptual_weight is {}", training.perceptual_weight),
         .why = "LPIPS needs a trained VGG16 and its linear layers; random ones measure nothing",
         .remedy = "name a safetensors file with them, or set autoencoder.perceptual_weight to 0"});
  }
  std::vector<models::NamedTensor> weights;
  for (auto& [name, tensor] : storage::load_safetensors(training.perceptual_weights).tensors) {
    weights.push_back({name, tensor});
  }
  return std::make_unique<models::PerceptualNetwork>(weights, settings);
}

std::unique_ptr<models::PatchDiscriminator> make_discriminator(const JobOptions& options,
                                                               const models::TensorSettings& settings) {
  if (options.adversarial.weight == 0.0) return nullptr;
  return std::make_unique<models::PatchDiscriminator>(options.discriminator, settings);
}

void set_trained(models::TensorTable& table, bool trained) {
  for (models::NamedTensor& parameter : table.parameters) parameter.tensor.set_requires_grad(trained);
}

void add_to(LossReport& sum, const LossReport& part) {
  if (sum.empty()) {
    sum = part;
    return;
  }
  for (std::size_t i = 0; i < part.size(); ++i) sum[i].second = sum[i].second + part[i].second;
}

}  // namespace

PretrainStage::PretrainStage(const StageContext& context, const language::Vocabulary& vocabulary)
    : context_(context),
      sum_over_ranks_([&communicator = context.communicator, trace = context.trace](const at::Tensor& tensor) {
        const logging::Span wait(trace, "sum over ranks", logging::Span::kNoStep, logging::Span::Kind::exposed_wait);
        return distributed::sum_over_ranks(tensor, communicator);
      }),
      tissue_words_(vocabulary),
      autoencoder_(
          context.options.autoencoder,
          language::make_codebook(vocabulary, context.options.vocabulary.normalise_rows, context.settings.dtype),
          context.settings),
      codebook_hash_(language::codebook_hash(autoencoder_.codebook())),
      discriminator_(make_discriminator(context.options, context.settings)),
      perceptual_(make_perceptual(context.options, context.settings)),
      candidate_words_(tissue_words_, autoencoder_.codebook(), context.options.words, autoencoder_.options().strides,
                       autoencoder_.downsampling()),
      usage_(static_cast<std::int64_t>(context.options.autoencoder.strides.size()), vocabulary.size(),
             context.settings.device) {
  const JobOptions& options = context_.options;
  const AutoencoderTrainingOptions& training = options.autoencoder_training;
  const std::int64_t batch = global_batch_of(training.global_batch, options.training);
  schedule_ = schedule_of(training.learning_rate, training.num_steps, batch, options.training);
  discriminator_schedule_ = schedule_of(options.adversarial.learning_rate, training.num_steps, batch, options.training);
  const AdamOptions adam{training.beta1, training.beta2};
  const auto make_updater = [&](models::TensorTable& table) {
    return std::make_unique<ParameterUpdater>(table.parameters, adam, options.training.max_gradient_norm,
                                              plan_for(table.parameters, options.distributed), context_.communicator,
                                              context_.trace);
  };
  updater_ = make_updater(autoencoder_.tensors());
  if (has_discriminator()) discriminator_updater_ = make_updater(discriminator_->tensors());
}

bool PretrainStage::adversarial_at(std::int64_t step) const {
  return has_discriminator() && step >= context_.options.adversarial.start_step;
}

std::vector<language::LevelCandidates> PretrainStage::candidates_of(const at::Tensor& tissue,
                                                                    const models::QuantizedLatent& latent) const {
  std::vector<language::LevelGrid> grids;
  for (const models::LevelTokens& level : latent.levels) {
    grids.push_back(level.exists ? language::LevelGrid{level.tokens.size(1), level.tokens.size(2)}
                                 : language::LevelGrid{});
  }
  return candidate_words_.of_tissue_maps(tissue.to(context_.settings.device), grids);
}

PretrainStage::AutoencoderLoss PretrainStage::autoencoder_loss(const ct::ImageBatch& batch, std::int64_t global_count,
                                                               bool adversarial, Reconstruction& reconstruction) {
  const AutoencoderTrainingOptions& training = context_.options.autoencoder_training;
  const at::Tensor normal_dose = batch.normal_dose.to(context_.settings.device);
  const at::Tensor latent = autoencoder_.encode(normal_dose);
  const models::QuantizedLatent tokens =
      autoencoder_.quantize(latent, {.log_partition = training.semantic_weight != 0.0});
  for (std::size_t level = 0; level < tokens.levels.size(); ++level) {
    if (tokens.levels[level].exists) usage_.add(static_cast<std::int64_t>(level), tokens.levels[level].tokens);
  }
  const at::Tensor reconstructed = autoencoder_.decode(tokens.straight_through);
  reconstruction = {normal_dose, reconstructed.detach()};

  const auto share = [&](const at::Tensor& per_image) { return per_image.sum() / static_cast<double>(global_count); };
  const at::Tensor none = at::zeros({}, normal_dose.options());
  const at::Tensor l1 = share(losses::absolute_error_per_image(reconstructed, normal_dose));
  const at::Tensor perceptual =
      perceptual_ ? share(losses::perceptual_loss(*perceptual_, reconstructed, normal_dose)) : none;
  const at::Tensor commitment = share(tokens.commitment);
  const at::Tensor semantic = training.semantic_weight != 0.0
                                  ? share(losses::semantic_loss(tokens.levels, candidates_of(batch.tissue, tokens)))
                                  : none;

  const at::Tensor nll = l1 + training.perceptual_weight * perceptual;
  at::Tensor total =
      nll + training.codebook_weight * (training.commitment_weight * commitment + training.semantic_weight * semantic);
  at::Tensor generator = none;
  at::Tensor adaptive = none;
  if (adversarial) {
    const at::Tensor logits = discriminator_->logits(reconstructed, /*training=*/true, sum_over_ranks_);
    generator = share(losses::generator_loss(logits));
    adaptive = losses::adaptive_weight(nll, generator, autoencoder_.last_layer_weight(), sum_over_ranks_,
                                       context_.options.adversarial.weight);
    total = total + adaptive * generator;
  }
  // Quantities that are the same on every rank are divided by their number, because a report is summed over ranks.
  const double num_ranks = context_.communicator.size();
  return {{{"l1", l1.detach()},
           {"perceptual", perceptual.detach()},
           {"commitment", commitment.detach()},
           {"semantic", semantic.detach()},
           {"generator", generator.detach()},
           {"adaptive_weight", adaptive.detach() / num_ranks},
           {"loss", total.detach()}},
          total};
}

LossReport PretrainStage::update_autoencoder(const data::StepBatch& batch, bool adversarial,
                                             std::vector<Reconstruction>& reconstructions) {
  // The discriminator judges here but does not learn: its hooks must stay silent.
  if (has_discriminator()) set_trained(discriminator_->tensors(), false);
  LossReport report;
  const std::size_t num_micro_batches = batch.micro_batches.size();
  updater_->begin_step(batch.step, static_cast<int>(num_micro_batches));
  for (std::size_t i = 0; i < num_micro_batches; ++i) {
    const AutoencoderLoss loss =
        autoencoder_loss(batch.micro_batches[i], batch.global_count, adversarial, reconstructions[i]);
    updater_->accumulate(loss.total, i + 1 == num_micro_batches);
    add_to(report, loss.parts);
  }
  const at::Tensor norm = updater_->update(schedule_.rate(batch.step));
  report.emplace_back("gradient_norm", norm / static_cast<double>(context_.communicator.size()));
  return report;
}

LossReport PretrainStage::update_discriminator(const data::StepBatch& batch,
                                               const std::vector<Reconstruction>& reconstructions) {
  set_trained(discriminator_->tensors(), true);
  LossReport report;
  discriminator_updater_->begin_step(batch.step, static_cast<int>(reconstructions.size()));
  for (std::size_t i = 0; i < reconstructions.size(); ++i) {
    const at::Tensor real = discriminator_->logits(reconstructions[i].normal_dose, true, sum_over_ranks_);
    const at::Tensor fake = discriminator_->logits(reconstructions[i].reconstructed, true, sum_over_ranks_);
    const at::Tensor loss =
        losses::discriminator_hinge_loss(real, fake).sum() / static_cast<double>(batch.global_count);
    discriminator_updater_->accumulate(loss, i + 1 == reconstructions.size());
    add_to(report, {{"discriminator", loss.detach()}});
  }
  discriminator_updater_->update(discriminator_schedule_.rate(batch.step));
  return report;
}

LossReport PretrainStage::train_step(const data::StepBatch& batch) {
  const bool adversarial = adversarial_at(batch.step);
  std::vector<Reconstruction> reconstructions(batch.micro_batches.size());
  LossReport report = update_autoencoder(batch, adversarial, reconstructions);
  if (adversarial) {
    for (auto& entry : update_discriminator(batch, reconstructions)) report.push_back(std::move(entry));
  } else {
    report.emplace_back("discriminator", at::zeros({}, reconstructions.front().normal_dose.options()));
  }
  return report;
}

std::vector<logging::Scalar> PretrainStage::interval_figures() {
  at::Tensor counts = usage_.counts();
  distributed::all_reduce(context_.communicator, counts);
  std::vector<logging::Scalar> figures;
  for (std::int64_t level = 0; level < counts.size(0); ++level) {
    figures.push_back({fmt::format("tokens_level_{}", level + 1), static_cast<double>(usage_.num_distinct(level))});
    figures.push_back({fmt::format("perplexity_level_{}", level + 1), usage_.perplexity(level)});
  }
  usage_.reset();
  return figures;
}

ValidationReport PretrainStage::validate(std::int64_t) {
  const at::NoGradGuard no_grad;
  const data::SliceLoader loader(context_.validation,
                                 {.window = context_.window, .dtype = context_.settings.dtype, .needs_tissue = true});
  PatientMeans means(context_.validation, {"l1_hu"});
  at::Tensor matches = at::zeros({4}, at::TensorOptions(at::kLong).device(context_.settings.device));
  for_each_slice_of_rank(context_.validation, context_.communicator, [&](std::int64_t id) {
    const data::SampleRef sample{0, id};
    const ct::ImageBatch batch = loader.load({&sample, 1});
    const at::Tensor normal_dose = batch.normal_dose.to(context_.settings.device);
    const models::QuantizedLatent tokens =
        autoencoder_.quantize(autoencoder_.encode(normal_dose), {.log_partition = false, .gradients = false});
    const at::Tensor reconstructed = autoencoder_.decode(tokens.quantized);
    means.add(id, {(reconstructed - normal_dose).abs().mean().item<double>() * context_.window.range_hu()});
    const auto candidates = candidates_of(batch.tissue, tokens);
    matches += language::tissue_match_counts(tissue_words_, tokens.levels.back().tokens, candidates.back().tissue);
  });
  ValidationReport report{means.reduce(context_.communicator), 0.0};
  report.criterion = report.figures.front().value;
  distributed::all_reduce(context_.communicator, matches);
  const language::TissueMatchRate rate = language::tissue_match_rate(matches);
  report.figures.push_back({"tissue_match", rate.all});
  report.figures.push_back({"tissue_match_non_air", rate.non_air});
  return report;
}

void PretrainStage::check_codebook_is_frozen() const {
  const std::string now = language::codebook_hash(autoencoder_.codebook());
  if (now == codebook_hash_) return;
  throw base::Error(base::ExitCode::internal, {.what = "the frozen codebook changed during training",
                                               .value = codebook_hash_ + " became " + now,
                                               .why = "tokens would no longer be words of the vocabulary",
                                               .remedy = "report this, with the run's options.cfg"});
}

StageState PretrainStage::state() const {
  check_codebook_is_frozen();
  StageState state;
  append_network("autoencoder.", autoencoder_.tensors(), state.networks);
  updater_->optimiser().append_state("autoencoder.", state.optimisers);
  state.facts = {{"codebook_hash", codebook_hash_}, {"bucket_plan", updater_->plan().text()}};
  if (has_discriminator()) {
    append_network("discriminator.", discriminator_->tensors(), state.networks);
    discriminator_updater_->optimiser().append_state("discriminator.", state.optimisers);
    state.facts.emplace_back("discriminator_bucket_plan", discriminator_updater_->plan().text());
  }
  return state;
}

void PretrainStage::load_state(const StageState& state) {
  const JobOptions& options = context_.options;
  const AdamOptions adam{options.autoencoder_training.beta1, options.autoencoder_training.beta2};
  const auto restore = [&](const std::string& prefix, models::TensorTable& table, const std::string& plan_name) {
    set_trained(table, true);
    load_network(prefix, state.networks, table, "the checkpoint");
    std::string plan;
    for (const auto& [name, text] : state.facts) {
      if (name == plan_name) plan = text;
    }
    auto updater = std::make_unique<ParameterUpdater>(table.parameters, adam, options.training.max_gradient_norm,
                                                      distributed::BucketPlan::from_text(plan), context_.communicator,
                                                      context_.trace);
    updater->optimiser().load_state(prefix, state.optimisers);
    return updater;
  };
  updater_.reset();  // its hooks leave before the new ones are attached
  updater_ = restore("autoencoder.", autoencoder_.tensors(), "bucket_plan");
  if (has_discriminator()) {
    discriminator_updater_.reset();
    discriminator_updater_ = restore("discriminator.", discriminator_->tensors(), "discriminator_bucket_plan");
  }
  check_codebook_is_frozen();
}

std::string PretrainStage::identity() const {
  std::string identity = "autoencoder " + network_identity(autoencoder_.tensors()) + ", codebook " + codebook_hash_;
  if (has_discriminator()) identity += ", discriminator " + network_identity(discriminator_->tensors());
  return identity;
}

}  // namespace leda::training
