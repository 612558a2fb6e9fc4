#include "training/stages/pretrain_stage.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.hpp"
#include "data/shards/rank_walk.hpp"
#include "language/codebook_ablation.hpp"
#include "language/tissue_match.hpp"
#include "losses/perceptual_loss.hpp"
#include "losses/reconstruction_loss.hpp"
#include "losses/semantic_loss.hpp"
#include "model_files/network_state.hpp"
#include "training/stages/patient_means.hpp"

namespace leda::training {
namespace {

// In a checkpoint: what the network's tensors begin with, the codebook among them, and its hash among the facts.
constexpr const char* kPrefix = "autoencoder.";
std::string codebook_entry() { return std::string(kPrefix) + models::kCodebookName; }
constexpr const char* kCodebookHash = "codebook_hash";

std::unique_ptr<models::PerceptualNetwork> make_perceptual(const AutoencoderTrainingOptions& training,
                                                           const models::TensorSettings& settings) {
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

// Checkpoints do not hold the codebook, so that ranks with different ones would not be noticed there.
void require_one_codebook(const std::string& hash, distributed::Communicator& communicator) {
  const std::vector<std::string> hashes = distributed::all_gather_texts(communicator, hash);
  const auto odd = std::find_if(hashes.begin(), hashes.end(), [&](const std::string& its) { return its != hashes[0]; });
  if (odd == hashes.end()) return;
  throw base::ErrorOnAllRanks(base::ExitCode::communication,
                              {.what = fmt::format("rank {} has another codebook than rank 0", odd - hashes.begin()),
                               .value = fmt::format("hashes {} and {}", *odd, hashes[0]),
                               .why = "ranks would train one network on different words",
                               .remedy = "give all hosts the same vocabulary.file"});
}

void warn_of_single_channel_norms(const models::AutoencoderOptions& options, logging::Console& console) {
  if (!models::normalises_single_channels(options)) return;
  console.warning(fmt::format(
      "autoencoder.norm_groups = {} for {} channels: each channel is normalised by itself, and on crops of even "
      "brightness the LEDA loss of stage 2 then has gradients that dwarf the pixel loss's; norm_groups = {} puts some "
      "channels into each group",
      options.norm_groups, options.channels, std::max(1, options.channels / 4)));
}

// By tissue where it has enough pure cells, and the mean of these.
void add_tissue_figures(const at::Tensor& pure_matches, ValidationReport& report) {
  const at::Tensor counts = pure_matches.cpu();
  for (const ct::TissueRange& row : ct::kTissues) {
    const at::Tensor own = counts[static_cast<std::int64_t>(row.tissue)];
    const auto positions = own[1].item<std::int64_t>();
    if (positions < language::kMinPositions) continue;
    report.figures.push_back({fmt::format("tissue_match_{}", row.name), own[0].item<double>() / positions});
  }
  const language::BalancedMatch balanced = language::balanced_match(counts);
  if (balanced.num_tissues > 0) report.figures.push_back({"tissue_match_balanced", balanced.share});
}

at::Tensor codebook_of(const language::Vocabulary& vocabulary, const VocabularyOptions& options,
                       const models::TensorSettings& settings) {
  const at::Tensor codebook = language::make_codebook(vocabulary, options.normalise_rows, settings.dtype);
  return language::ablate_codebook(codebook, options.ablation, settings.seed);
}

}  // namespace

PretrainStage::PretrainStage(const StageContext& context, const PretrainOptions& options, const TrainingPlan& plan,
                             const language::Vocabulary& vocabulary, std::optional<language::WordScores> word_scores)
    : context_(context),
      options_(options),
      tissue_words_(vocabulary),
      autoencoder_(options.autoencoder, codebook_of(vocabulary, options.vocabulary, context.settings),
                   context.settings),
      codebook_hash_(language::codebook_hash(autoencoder_.codebook())),
      perceptual_(make_perceptual(options.training, context.settings)),
      candidate_words_(tissue_words_, losses::scored_codebook(autoencoder_.codebook(), autoencoder_.metric()),
                       options.words, autoencoder_.options().strides, autoencoder_.downsampling()),
      usage_(static_cast<std::int64_t>(options.autoencoder.strides.size()), vocabulary.size(), context.settings.device),
      trained_({kPrefix}, autoencoder_.tensors(), {options.training.beta1, options.training.beta2}, plan.schedule,
               context) {
  require_one_codebook(codebook_hash_, context_.communicator);
  warn_of_single_channel_norms(options.autoencoder, context_.console);
  if (options.adversarial.weight != 0.0) adversarial_ = std::make_unique<AdversarialTraining>(options, plan, context);
  TORCH_INTERNAL_ASSERT(word_scores.has_value() == (options.words.source == language::CandidateSource::scores),
                        "scores where they are asked for");
  if (word_scores) {
    scored_candidates_.emplace(tissue_words_, losses::scored_codebook(autoencoder_.codebook(), autoencoder_.metric()),
                               options.words, autoencoder_.options().strides.size(), std::move(*word_scores));
  }
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

std::vector<language::LevelCandidates> PretrainStage::training_candidates(const ct::ImageBatch& images,
                                                                          const models::QuantizedLatent& latent) const {
  std::vector<language::LevelCandidates> candidates = candidates_of(images.tissue, latent);
  if (scored_candidates_) scored_candidates_->place(images.slice_ids, candidates);
  return candidates;
}

PretrainStage::SemanticTerm PretrainStage::semantic_term(const ct::ImageBatch& images,
                                                         const models::QuantizedLatent& tokens,
                                                         const at::Tensor& appearance) const {
  const at::Tensor loss =
      losses::semantic_loss(tokens.levels, training_candidates(images, tokens), autoencoder_.metric());
  if (options_.training.semantic_weighting != SemanticWeighting::dynamic) return {loss, loss, {}};
  const at::Tensor factor = losses::dynamic_semantic_factor(appearance, loss);
  return {loss, factor * loss, factor};
}

at::Tensor PretrainStage::autoencoder_loss(const data::StepBatch& batch, std::size_t micro_batch, bool adversarial,
                                           Reconstruction& reconstruction, StepReport& report) {
  const AutoencoderTrainingOptions& training = options_.training;
  const ct::ImageBatch& images = batch.micro_batches[micro_batch];
  const at::Tensor normal_dose = images.normal_dose.to(context_.settings.device);
  const at::Tensor latent = autoencoder_.encode(normal_dose);
  const models::QuantizedLatent tokens =
      autoencoder_.quantize(latent, {.log_partition = training.semantic_weight != 0.0});
  for (std::size_t level = 0; level < tokens.levels.size(); ++level) {
    if (tokens.levels[level].exists) usage_.add(static_cast<std::int64_t>(level), tokens.levels[level].tokens);
  }
  const at::Tensor reconstructed = autoencoder_.decode(tokens.straight_through);
  reconstruction = {normal_dose, reconstructed.detach()};

  const auto share = [&](const at::Tensor& per_image) {
    return per_image.sum() / static_cast<double>(batch.global_count);
  };
  const at::Tensor l1_per_image = losses::absolute_error_per_image(reconstructed, normal_dose);
  const auto perceptual_input =
      models::is_published(autoencoder_.options()) ? losses::PerceptualInput::unit : losses::PerceptualInput::symmetric;
  const at::Tensor perceptual_per_image =
      perceptual_ ? losses::perceptual_loss(*perceptual_, reconstructed, normal_dose, perceptual_input)
                  : at::zeros_like(l1_per_image);
  const at::Tensor l1 = share(l1_per_image);
  const at::Tensor perceptual = share(perceptual_per_image);
  const at::Tensor commitment = share(tokens.commitment);
  const SemanticTerm semantic =
      training.semantic_weight != 0.0
          ? semantic_term(images, tokens, l1_per_image + training.perceptual_weight * perceptual_per_image)
          : SemanticTerm{at::zeros_like(l1_per_image), at::zeros_like(l1_per_image), {}};

  const at::Tensor nll = l1 + training.perceptual_weight * perceptual;
  at::Tensor total = nll + training.codebook_weight * (training.commitment_weight * commitment +
                                                       training.semantic_weight * share(semantic.weighted));
  if (adversarial) {
    total =
        total + adversarial_->generator_term(reconstructed, nll, autoencoder_.last_layer_weight(), micro_batch, report);
  }
  report.add("l1", micro_batch, l1);
  report.add("perceptual", micro_batch, perceptual);
  report.add("commitment", micro_batch, commitment);
  report.add("semantic", micro_batch, share(semantic.loss));
  if (semantic.factor.defined()) report.add("semantic_factor", micro_batch, share(semantic.factor));
  report.add("loss", micro_batch, total);
  return total;
}

at::Tensor PretrainStage::update_autoencoder(const data::StepBatch& batch, bool adversarial,
                                             std::vector<Reconstruction>& reconstructions, StepReport& report) {
  const std::size_t num_micro_batches = reconstructions.size();
  trained_.begin_step(batch, num_micro_batches);
  for (std::size_t i = 0; i < num_micro_batches; ++i) {
    const at::Tensor total = autoencoder_loss(batch, i, adversarial, reconstructions[i], report);
    trained_.accumulate(total, i + 1 == num_micro_batches);
  }
  const Update update = trained_.update();
  report.set_shared("gradient_norm", update.gradient_norm);
  return update.is_skipped;
}

LossReport PretrainStage::train_step(const data::StepBatch& batch, bool) {
  std::vector<Reconstruction> reconstructions(num_micro_batches_of(batch, context_.distributed.reproducible));
  std::vector<std::string> names{
      "l1",   "perceptual",    "commitment",    "semantic",     "generator", "adaptive_weight",
      "loss", "gradient_norm", "discriminator", kSkippedUpdates};
  if (options_.training.semantic_weighting == SemanticWeighting::dynamic) names.emplace_back("semantic_factor");
  StepReport report(std::move(names), batch, context_.communicator, context_.distributed.reproducible,
                    context_.settings.device);
  const bool adversarial = adversarial_ && adversarial_->acts_in(batch.step);
  if (adversarial_) adversarial_->begin_step(batch);
  at::Tensor is_skipped = update_autoencoder(batch, adversarial, reconstructions, report);
  if (adversarial) is_skipped = adversarial_->update(reconstructions, is_skipped, report);
  report.set_shared(kSkippedUpdates, is_skipped);
  return report.entries();
}

std::vector<SkippedUpdates> PretrainStage::collect_skipped_updates() {
  std::vector<SkippedUpdates> skipped;
  trained_.collect_skipped_updates(skipped);
  if (adversarial_) adversarial_->network().collect_skipped_updates(skipped);
  return skipped;
}

std::vector<logging::Scalar> PretrainStage::interval_figures() {
  at::Tensor counts = usage_.counts();
  distributed::all_reduce(context_.communicator, counts);
  std::vector<logging::Scalar> figures;
  for (std::int64_t level = 0; level < counts.size(0); ++level) {
    figures.push_back({fmt::format("tokens_level_{}", level + 1), static_cast<double>(usage_.num_distinct(level))});
    figures.push_back({fmt::format("perplexity_level_{}", level + 1), usage_.perplexity(level)});
    figures.push_back({fmt::format("dead_words_level_{}", level + 1), static_cast<double>(usage_.num_dead(level))});
  }
  usage_.reset();
  return figures;
}

std::optional<ValidationReport> PretrainStage::validate(std::int64_t, const std::function<bool()>& should_stop) {
  const at::NoGradGuard no_grad;
  const data::SliceLoader loader(context_.validation,
                                 {.window = context_.window, .dtype = context_.settings.dtype, .needs_tissue = true});
  PatientMeans means(context_.validation, {"l1_hu", "psnr_db"});
  const auto count_options = at::TensorOptions(at::kLong).device(context_.settings.device);
  at::Tensor matches = at::zeros({4}, count_options);
  at::Tensor pure_matches = at::zeros({ct::kNumTissues, 2}, count_options);
  const auto visit = [&](std::int64_t id) {
    const data::SampleRef sample{0, id};
    const ct::ImageBatch batch = loader.load({&sample, 1});
    const at::Tensor normal_dose = batch.normal_dose.to(context_.settings.device);
    const models::QuantizedLatent tokens =
        autoencoder_.quantize(autoencoder_.encode(normal_dose), {.log_partition = false, .gradients = false});
    const at::Tensor reconstructed = autoencoder_.decode(tokens.quantized);
    const at::Tensor error = reconstructed - normal_dose;
    means.add(id, {error.abs().mean().item<double>() * context_.window.range_hu(),
                   -10.0 * std::log10(error.square().mean().item<double>())});  // peak: the window's range
    const auto candidates = candidates_of(batch.tissue, tokens);
    const at::Tensor& finest = tokens.levels.back().tokens;
    matches += language::tissue_match_counts(tissue_words_, finest, candidates.back().tissue);
    pure_matches += language::pure_match_counts(tissue_words_, finest, candidates.back());
  };
  const data::RankWalk walk{.activity = "validation, slice", .should_stop = should_stop};
  if (!data::walk_by_rank(context_.validation.num_slices(), context_.communicator, walk, visit)) return std::nullopt;
  ValidationReport report{.figures = means.reduce(context_.communicator), .criterion_name = "mean absolute error"};
  report.criterion = report.figures.front().value;
  distributed::all_reduce(context_.communicator, matches);
  const language::TissueMatchRate rate = language::tissue_match_rate(matches);
  report.figures.push_back({"tissue_match", rate.all});
  report.figures.push_back({"tissue_match_non_air", rate.non_air});
  distributed::all_reduce(context_.communicator, pure_matches);
  add_tissue_figures(pure_matches, report);
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

// A checkpoint without the codebook gets the one that was made of the vocabulary, if it is the one of then; older
// checkpoints hold it.
void PretrainStage::require_saved_codebook(StageState& state) const {
  const bool holds_it = std::any_of(state.networks.tensors.begin(), state.networks.tensors.end(),
                                    [](const auto& entry) { return entry.first == codebook_entry(); });
  if (holds_it) return;
  std::string then;
  for (const auto& [name, text] : state.facts) {
    if (name == kCodebookHash) then = text;
  }
  if (then != codebook_hash_) {
    throw base::ErrorOnAllRanks(
        base::ExitCode::data,
        {.what = "the codebook is not the one this run began with",
         .value = fmt::format("hash {}, the checkpoint says {}", codebook_hash_, then.empty() ? "nothing" : then),
         .why = "its tokens would be other words from here on",
         .remedy = "restore vocabulary.file and run.seed, or start afresh with --new-run"});
  }
  state.networks.tensors.emplace_back(codebook_entry(), autoencoder_.codebook());
}

// The codebook, 101 MB at published size, is always the same: its hash stands for it.
StageState PretrainStage::state() const {
  check_codebook_is_frozen();
  StageState state;
  trained_.append_state(state);
  std::erase_if(state.networks.tensors, [](const auto& entry) { return entry.first == codebook_entry(); });
  if (adversarial_) adversarial_->network().append_state(state);
  state.facts.emplace_back(kCodebookHash, codebook_hash_);
  return state;
}

void PretrainStage::load_state(const StageState& saved) {
  StageState state = saved;
  require_saved_codebook(state);
  trained_.load_state(state);
  if (adversarial_) adversarial_->network().load_state(state);
  check_codebook_is_frozen();
}

std::string PretrainStage::identity() const {
  std::string identity =
      "autoencoder " + model_files::network_identity(autoencoder_.tensors()) + ", codebook " + codebook_hash_;
  if (adversarial_) identity += ", discriminator " + model_files::network_identity(adversarial_->tensors());
  if (scored_candidates_) identity += ", word scores " + scored_candidates_->scores().hash();
  return identity;
}

}  // namespace leda::training
