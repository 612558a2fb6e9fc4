#include "config/job_option_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"
#include "ct/hounsfield.hpp"
#include "language/codebook_control.hpp"

namespace leda::config {
namespace {

[[noreturn]] void refuse(const std::string& key, const std::string& value, const std::string& why,
                         const std::string& remedy) {
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "option " + key, .value = value, .why = why, .remedy = remedy});
}

void require_one_of(const std::string& key, const std::string& value, const std::vector<std::string>& known) {
  if (std::find(known.begin(), known.end(), value) != known.end()) return;
  refuse(key, "'" + value + "'", "", fmt::format("one of: {}", fmt::join(known, ", ")));
}

template <typename Number>
void require_at_least(const std::string& key, Number value, Number smallest) {
  if (value >= smallest && value <= std::numeric_limits<Number>::max()) return;
  refuse(key, fmt::format("{}", value), "", fmt::format("a value of {} or more", smallest));
}

void require_above_zero(const std::string& key, double value) {
  if (!(value > 0.0) || std::isinf(value)) refuse(key, fmt::format("{}", value), "", "a finite value above 0");
}

void require_share(const std::string& key, double value) {
  if (!(value >= 0.0 && value <= 1.0)) refuse(key, fmt::format("{}", value), "", "a value from 0 to 1");
}

void require_decay_rate(const std::string& key, double value) {
  if (!(value >= 0.0 && value < 1.0)) refuse(key, fmt::format("{}", value), "", "a value from 0 to below 1");
}

void require_window(const std::string& key, const std::string& name) {
  try {
    ct::window_of(name);
  } catch (const base::Error& fault) {
    refuse(key, "'" + name + "'", fault.text().why, fault.text().remedy);
  }
}

void bind_run(OptionTable& table, training::JobOptions& job) {
  table.add("run.stages",
            "what to do, in this order: pretrain, baseline (stage 2 without LEDA), denoise (with), evaluate",
            &job.run.stages);
  table.add("run.folder", "where the run lives; a new run after it becomes FOLDER-2, FOLDER-3, ...", &job.run.folder);
  table.add("run.seed", "of first weights, data order and augmentation", &job.run.seed);
  table.add("run.num_denoiser_seeds", "train stage 2 this often, with run.seed, run.seed + 1, ...",
            &job.run.num_denoiser_seeds);
  table.add("run.device", "auto (a GPU if there is one), cpu, cuda", &job.run.device);
  table.add("run.max_seconds", "save and leave with code 85 within this time; 0 = no limit", &job.run.max_seconds);
  table.add("run.margin_seconds",
            "time kept free before the end of a Slurm job (SLURM_JOB_END_TIME), beside what the last checkpoint takes",
            &job.run.margin_seconds);
}

void bind_data(OptionTable& table, training::JobOptions& job) {
  table.add("data.source", "shards (found in data.folder), or phantoms (written there when missing)", &job.data.source);
  table.add("data.folder", "holds train/, validation/ and test/ with *.h5 shards", &job.data.folder);
  table.add("data.window",
            "HU range the networks see: leda [-1000, 2000], abdomen [-160, 240], wide [-1000, 1000], LOW:HIGH",
            &job.data.window);
  table.add("data.queue_depth", "steps loaded ahead of training", &job.data.queue_depth);
  table.add("data.phantom_size", "phantoms: pixels a side, 64 to 512, a multiple of 16", &job.data.phantom_size);
  table.add("data.num_train_patients", "phantoms: patients to train on", &job.data.num_train_patients);
  table.add("data.num_validation_patients", "phantoms: patients to choose by", &job.data.num_validation_patients);
  table.add("data.num_test_patients", "phantoms: patients to report on", &job.data.num_test_patients);
  table.add("data.slices_per_patient", "phantoms: slices of each patient", &job.data.slices_per_patient);
  table.add("data.dose_fraction", "phantoms: low dose as a share of normal dose", &job.data.dose_fraction);
  table.add("data.phantom_seed", "phantoms: another number, other patients", &job.data.phantom_seed);
}

void bind_language(OptionTable& table, training::JobOptions& job) {
  table.add("vocabulary.file", "words and embeddings: builtin, or an HDF5 file", &job.vocabulary.file);
  table.add("vocabulary.normalise_rows", "scale every word's embedding to length 1", &job.vocabulary.normalise_rows);
  table.add(
      "vocabulary.control",
      "codebook without the language, keyed by run.seed: none, shuffled (embeddings dealt to other words), random "
      "(directions at random, every row as long as before)",
      &job.vocabulary.control);
  table.add("words.source", "of candidate words: tissue (HU ranges), or scores (of a CLIP model, in words.scores)",
            &job.words.source);
  table.add("words.scores", "source scores: word score file of the training slices (docs/formats/word_scores.md)",
            &job.words.scores);
  table.add(
      "words.restrict_to_tissue",
      "source scores: of each position only terms of its cell's tissue, all of them where none is scored; false = "
      "one list for the image",
      &job.words.restrict_to_tissue);
  table.add("words.placement", "source tissue: candidate words by position (of the token's own cell) or by image",
            &job.words.placement);
  table.add("words.thresholds", "placement image, source scores: score from which a word is a candidate, per level",
            &job.words.thresholds);
  table.add("words.air_weight", "placement position: weight of air pixels at all levels but the finest",
            &job.words.air_weight);
  table.add("words.tissue_weights",
            "placement position: weight of a pixel of air,lung,fat,water,soft,blood,bone,metal in deciding its cell's "
            "tissue; empty = 1 each",
            &job.words.tissue_weights);
  table.add("words.balance",
            "placement position: the semantic loss weighs a cell by its tissue's number of cells in the slice to the "
            "power of minus this; 0 = all alike, 1 = all tissues alike",
            &job.words.balance);
  table.add("words.contrast",
            "what 90 to 200 HU is called: blood (enhanced), bone (none), or either by the slice (auto)",
            &job.words.contrast);
}

void bind_autoencoder(OptionTable& table, training::JobOptions& job) {
  auto& network = job.autoencoder;
  table.add("autoencoder.channels", "channels at full resolution", &network.channels);
  table.add("autoencoder.multipliers", "channels per level, as multiples; each level halves the resolution",
            &network.multipliers);
  table.add("autoencoder.encoder_blocks", "residual blocks per level of the encoder", &network.encoder_blocks);
  table.add("autoencoder.decoder_blocks", "residual blocks per level of the decoder", &network.decoder_blocks);
  table.add("autoencoder.latent_channels", "output channels of the encoder; 0 = of its last level",
            &network.latent_channels);
  table.add("autoencoder.attention_levels", "levels with attention besides the middle; 0 = full resolution",
            &network.attention_levels);
  table.add("autoencoder.norm_groups", "groups of GroupNorm, reduced where they do not divide the channels",
            &network.norm_groups);
  table.add("autoencoder.strides", "of the token pyramid, coarse to fine", &network.strides);
  table.add("autoencoder.vocabulary_tile", "words scored at a time", &network.vocabulary_tile);
  table.add("autoencoder.compatibility",
            "none, or published: quantiser and losses as the published code has them, for its weights",
            &network.compatibility);
  table.add("autoencoder.distance", "between latents and words: euclidean or cosine", &network.distance);
  table.add("autoencoder.temperature", "of the softmax over words in the semantic loss", &network.temperature);
  table.add("autoencoder.normalise_latents", "divide latents by their length; needs vocabulary.normalise_rows",
            &network.normalise_latents);
  auto& training = job.autoencoder_training;
  table.add("autoencoder.num_steps", "length of stage 1", &training.num_steps);
  table.add("autoencoder.global_batch", "images per step of stage 1; 0 = training.global_batch",
            &training.global_batch);
  table.add("autoencoder.learning_rate", "of the autoencoder", &training.learning_rate);
  table.add("autoencoder.beta1", "Adam's first decay rate in stage 1", &training.beta1);
  table.add("autoencoder.beta2", "Adam's second decay rate in stage 1", &training.beta2);
  table.add("autoencoder.semantic_weight", "alpha, of the semantic loss; 0 = off", &training.semantic_weight);
  table.add(
      "autoencoder.semantic_weighting",
      "fixed, or dynamic: alpha is multiplied by (reconstruction + perceptual loss) / semantic loss of each image",
      &training.semantic_weighting);
  table.add("autoencoder.commitment_weight", "of the commitment loss", &training.commitment_weight);
  table.add("autoencoder.codebook_weight", "of commitment and semantic loss together", &training.codebook_weight);
  table.add("autoencoder.perceptual_weight", "of LPIPS; 0 = off", &training.perceptual_weight);
  table.add("autoencoder.perceptual_weights", "safetensors file with LPIPS's VGG16 and linear layers",
            &training.perceptual_weights);
  table.add("autoencoder.flips", "flip training images at random", &training.flips);
  table.add("discriminator.weight", "of the adversarial loss before its adaptive weight; 0 = no discriminator",
            &job.adversarial.weight);
  table.add("discriminator.start_step", "first step in which it acts", &job.adversarial.start_step);
  table.add("discriminator.learning_rate", "of the discriminator", &job.adversarial.learning_rate);
  table.add("discriminator.channels", "channels of its first layer", &job.discriminator.channels);
  table.add("discriminator.layers", "its halvings of the resolution", &job.discriminator.layers);
  table.add("discriminator.norm", "batch (over all ranks) or group", &job.discriminator.norm);
}

void bind_denoiser(OptionTable& table, training::JobOptions& job) {
  table.add("denoiser.type", fmt::format("network: {}", fmt::join(models::denoiser_types(), ", ")), &job.denoiser.type);
  table.add("denoiser.channels", "width of the network", &job.denoiser.channels);
  table.add("denoiser.input_scale", "s of f(u) = network(s u) / s; about 10 for wide windows",
            &job.denoiser.input_scale);
  table.add("denoiser.zero_last_layer", "start with output = input", &job.denoiser.zero_last_layer);
  auto& training = job.denoiser_training;
  table.add("denoiser.num_steps", "length of stage 2", &training.num_steps);
  table.add("denoiser.global_batch", "images per step of stage 2; 0 = training.global_batch", &training.global_batch);
  table.add("denoiser.learning_rate", "of the denoiser", &training.learning_rate);
  table.add("denoiser.beta1", "Adam's first decay rate in stage 2", &training.beta1);
  table.add("denoiser.beta2", "Adam's second decay rate in stage 2", &training.beta2);
  table.add("denoiser.crop", "side of random crops in pixels; 0 = whole images", &training.crop);
  table.add("denoiser.augment", "flip and turn training images at random", &training.augment);
  table.add("leda.weight", "w, of the LEDA loss; 0 = the baseline", &job.leda.weight);
  table.add("leda.autoencoder", "autoencoder.safetensors of a stage 1; empty = this run's own", &job.leda.autoencoder);
  table.add("leda.token_term",
            "hard (squared distance of the chosen embeddings) or soft (divergence of the token distributions)",
            &job.leda.token_term);
  table.add("leda.token_weight", "of the token term within the LEDA loss; the feature term has 1",
            &job.leda.token_weight);
  table.add("leda.token_temperature", "token term soft: scores are divided by it before the softmax over all words",
            &job.leda.token_temperature);
}

void bind_training(OptionTable& table, training::JobOptions& job) {
  auto& training = job.training;
  table.add("training.global_batch", "images per step over all ranks", &training.global_batch);
  table.add("training.max_micro_batch", "images per rank and backward; a larger share is accumulated; 0 = all at once",
            &training.max_micro_batch);
  table.add("training.learning_rate_scaling", "none, or linear: rates are multiplied by the global batch",
            &training.learning_rate_scaling);
  table.add("training.num_warm_up_steps", "steps of linear warm-up", &training.num_warm_up_steps);
  table.add("training.final_learning_rate_fraction", "end of the cosine, as a share of the rate; 1 = constant",
            &training.final_learning_rate_fraction);
  table.add("training.max_gradient_norm", "clip the gradient's norm over all ranks to this; 0 = off",
            &training.max_gradient_norm);
  table.add("training.validate_every_num_steps", "cadence of validation", &training.validate_every_num_steps);
  table.add("training.precision", "float32 or float64", &training.precision);
  table.add("training.on_non_finite",
            "of a gradient with a NaN or infinity: stop, skip (the update, with a warning), roll_back (to the last "
            "checkpoint, once for each step)",
            &training.on_non_finite);
  table.add("training.max_consecutive_skips", "with skip: so many updates in a row skipped end the run; 0 = no limit",
            &training.max_consecutive_skips);
  table.add("training.divergence_factor", "stop when validation is this much worse than its best; 0 = never",
            &training.divergence_factor);
  table.add("checkpoint.interval",
            "steps (every checkpoint.every_num_steps), auto (from what a save costs and how often the run failed)",
            &job.checkpoint_cadence.interval);
  table.add("checkpoint.every_num_steps", "cadence of checkpoints", &job.checkpoint_cadence.every_num_steps);
  table.add("checkpoint.keep_last", "newest checkpoints kept, beside the best", &job.checkpoint.keep_last);
  table.add("checkpoint.keep_every_num_steps", "checkpoints of multiples of this step are kept for ever; 0 = none",
            &job.checkpoint.keep_every_num_steps);
  table.add("checkpoint.max_file_bytes",
            "archives above this are split over files, between tensors, and the files dealt out over ranks",
            &job.checkpoint.max_file_bytes);
}

void bind_distributed(OptionTable& table, training::JobOptions& job) {
  table.add("distributed.bucket_bytes", "gradients that travel together", &job.distributed.bucket_bytes);
  table.add("distributed.first_bucket_bytes", "the same, of the first to leave", &job.distributed.first_bucket_bytes);
  table.add("distributed.wire_type", "gradients travel as they are (full) or rounded (bfloat16)",
            &job.distributed.wire_type);
  table.add("distributed.overlap", "buckets leave during backward; false = after it, to measure what that gains",
            &job.distributed.overlap);
  table.add(
      "distributed.non_finite_check",
      "before_sum (names the rank at once), on_device (no wait; named at the next logging step), auto = before_sum "
      "in host memory",
      &job.distributed.non_finite_check);
  table.add("distributed.reproducible",
            "the same bits on any number of ranks: each sample by itself, summed in a fixed tree",
            &job.distributed.reproducible);
  table.add("distributed.init_timeout_seconds", "time for several ranks' GPUs to connect",
            &job.devices.init_timeout_seconds);
  table.add("distributed.threads_per_rank", "0 = cores / ranks on this host", &job.threads_per_rank);
  table.add("distributed.timeout_seconds",
            "end the job with code 13, naming who is waited for, when a rank neither takes part in a collective nor "
            "notes progress (a step, a slice, a checkpoint) for so long",
            &job.watch.timeout_seconds);
  table.add("distributed.check_collectives",
            "compare what all ranks call before every collective, and name those that differ; slow, to find mistakes",
            &job.watch.check_collectives);
}

void bind_reports(OptionTable& table, training::JobOptions& job) {
  table.add("logging.every_num_steps", "cadence of logged figures", &job.logging.every_num_steps);
  table.add("logging.progress_seconds", "time between progress lines where no terminal is",
            &job.logging.progress_seconds);
  table.add("logging.tensorboard", "write TensorBoard files beside log.jsonl", &job.logging.tensorboard);
  table.add("logging.trace", "write a Chrome trace of every rank (docs/formats/trace.md)", &job.logging.trace);
  table.add("evaluation.max_tuning_slices", "validation slices that Gaussian and non-local means are tuned on",
            &job.evaluation.max_tuning_slices);
  table.add("evaluation.picture_window", "HU range of the comparison picture", &job.evaluation.picture_window);
  table.add("evaluation.word_maps",
            "after stage 1, count how often the words of the test slices name the right tissue "
            "(pretrain/word_maps.json)",
            &job.evaluation.word_maps);
}

}  // namespace

void bind_job_options(OptionTable& table, training::JobOptions& job) {
  bind_run(table, job);
  bind_data(table, job);
  bind_language(table, job);
  bind_autoencoder(table, job);
  bind_denoiser(table, job);
  bind_training(table, job);
  bind_distributed(table, job);
  bind_reports(table, job);
}

namespace {

void check_names(const training::JobOptions& job) {
  if (job.run.stages.empty()) refuse("run.stages", "empty", "there is nothing to do", "name at least one stage");
  for (const std::string& stage : job.run.stages) {
    require_one_of("run.stages", stage, {"pretrain", "baseline", "denoise", "evaluate"});
  }
  require_one_of("run.device", job.run.device, {"auto", "cpu", "cuda"});
  require_one_of("checkpoint.interval", job.checkpoint_cadence.interval, {"steps", "auto"});
  require_one_of("data.source", job.data.source, {"shards", "phantoms"});
  require_one_of("training.precision", job.training.precision, {"float32", "float64"});
  require_one_of("training.learning_rate_scaling", job.training.learning_rate_scaling, {"none", "linear"});
  require_one_of("training.on_non_finite", job.training.on_non_finite, {"stop", "skip", "roll_back"});
  require_one_of("distributed.wire_type", job.distributed.wire_type, {"full", "bfloat16"});
  require_one_of("distributed.non_finite_check", job.distributed.non_finite_check, {"auto", "before_sum", "on_device"});
  require_one_of("autoencoder.compatibility", job.autoencoder.compatibility, {"none", "published"});
  require_one_of("vocabulary.control", job.vocabulary.control, language::codebook_controls());
  require_one_of("leda.token_term", job.leda.token_term, {"hard", "soft"});
  require_one_of("words.source", job.words.source, {"tissue", "scores"});
  require_one_of("words.placement", job.words.placement, {"position", "image"});
  require_one_of("words.contrast", job.words.contrast, {"enhanced", "none", "auto"});
  require_one_of("autoencoder.distance", job.autoencoder.distance, {"euclidean", "cosine"});
  require_one_of("autoencoder.semantic_weighting", job.autoencoder_training.semantic_weighting, {"fixed", "dynamic"});
  require_one_of("discriminator.norm", job.discriminator.norm, {"batch", "group"});
  require_one_of("denoiser.type", job.denoiser.type, models::denoiser_types());
  require_window("data.window", job.data.window);
  require_window("evaluation.picture_window", job.evaluation.picture_window);
}

void check_lengths(const training::JobOptions& job) {
  require_at_least<std::int64_t>("autoencoder.num_steps", job.autoencoder_training.num_steps, 1);
  require_at_least<std::int64_t>("denoiser.num_steps", job.denoiser_training.num_steps, 1);
  require_at_least<std::int64_t>("run.num_denoiser_seeds", job.run.num_denoiser_seeds, 1);
  require_at_least("run.max_seconds", job.run.max_seconds, 0.0);
  require_at_least("run.margin_seconds", job.run.margin_seconds, 0.0);
  require_at_least<std::int64_t>("training.num_warm_up_steps", job.training.num_warm_up_steps, 0);
  require_at_least<std::int64_t>("training.max_consecutive_skips", job.training.max_consecutive_skips, 0);
  require_at_least<std::int64_t>("training.validate_every_num_steps", job.training.validate_every_num_steps, 1);
  require_at_least<std::int64_t>("checkpoint.every_num_steps", job.checkpoint_cadence.every_num_steps, 1);
  require_at_least("checkpoint.keep_last", job.checkpoint.keep_last, 1);
  require_at_least<std::int64_t>("checkpoint.keep_every_num_steps", job.checkpoint.keep_every_num_steps, 0);
  require_at_least<std::uint64_t>("checkpoint.max_file_bytes", job.checkpoint.max_file_bytes, 1);
  require_at_least<std::int64_t>("logging.every_num_steps", job.logging.every_num_steps, 1);
  require_at_least("logging.progress_seconds", job.logging.progress_seconds, 0.0);
  require_at_least<std::int64_t>("evaluation.max_tuning_slices", job.evaluation.max_tuning_slices, 1);
}

void check_sizes(const training::JobOptions& job) {
  require_at_least<std::int64_t>("training.global_batch", job.training.global_batch, 1);
  require_at_least<std::int64_t>("training.max_micro_batch", job.training.max_micro_batch, 0);
  require_at_least<std::int64_t>("autoencoder.global_batch", job.autoencoder_training.global_batch, 0);
  require_at_least<std::int64_t>("denoiser.global_batch", job.denoiser_training.global_batch, 0);
  require_at_least<std::int64_t>("denoiser.crop", job.denoiser_training.crop, 0);
  require_at_least("denoiser.channels", job.denoiser.channels, 1);
  require_at_least("autoencoder.channels", job.autoencoder.channels, 1);
  require_at_least("autoencoder.vocabulary_tile", job.autoencoder.vocabulary_tile, 1);
  require_at_least("discriminator.channels", job.discriminator.channels, 1);
  require_at_least("discriminator.layers", job.discriminator.layers, 1);
  require_at_least<std::int64_t>("discriminator.start_step", job.adversarial.start_step, 0);
  require_at_least<std::int64_t>("data.queue_depth", job.data.queue_depth, 1);
  require_at_least("distributed.init_timeout_seconds", job.devices.init_timeout_seconds, 1.0);
  require_at_least<std::int64_t>("distributed.threads_per_rank", job.threads_per_rank, 0);
  require_at_least("distributed.timeout_seconds", job.watch.timeout_seconds, 1.0);
  require_at_least<std::int64_t>("distributed.bucket_bytes", job.distributed.bucket_bytes, 1);
  require_at_least<std::int64_t>("distributed.first_bucket_bytes", job.distributed.first_bucket_bytes, 1);
}

void check_rates(const training::JobOptions& job) {
  require_at_least("leda.weight", job.leda.weight, 0.0);
  require_at_least("leda.token_weight", job.leda.token_weight, 0.0);
  require_above_zero("leda.token_temperature", job.leda.token_temperature);
  require_at_least("discriminator.weight", job.adversarial.weight, 0.0);
  require_at_least("autoencoder.semantic_weight", job.autoencoder_training.semantic_weight, 0.0);
  require_at_least("autoencoder.commitment_weight", job.autoencoder_training.commitment_weight, 0.0);
  require_at_least("autoencoder.codebook_weight", job.autoencoder_training.codebook_weight, 0.0);
  require_at_least("autoencoder.perceptual_weight", job.autoencoder_training.perceptual_weight, 0.0);
  require_above_zero("autoencoder.learning_rate", job.autoencoder_training.learning_rate);
  require_above_zero("discriminator.learning_rate", job.adversarial.learning_rate);
  require_above_zero("denoiser.learning_rate", job.denoiser_training.learning_rate);
  require_above_zero("denoiser.input_scale", job.denoiser.input_scale);
  require_decay_rate("autoencoder.beta1", job.autoencoder_training.beta1);
  require_decay_rate("autoencoder.beta2", job.autoencoder_training.beta2);
  require_decay_rate("denoiser.beta1", job.denoiser_training.beta1);
  require_decay_rate("denoiser.beta2", job.denoiser_training.beta2);
  require_at_least("training.max_gradient_norm", job.training.max_gradient_norm, 0.0);
  require_at_least("training.divergence_factor", job.training.divergence_factor, 0.0);
  require_share("training.final_learning_rate_fraction", job.training.final_learning_rate_fraction);
  require_at_least("words.air_weight", job.words.air_weight, 0.0);
  require_share("words.balance", job.words.balance);
  require_above_zero("autoencoder.temperature", job.autoencoder.temperature);
}

// What the published code computes cannot be had with other settings of these, where the stage that reads them runs.
void check_published(const training::JobOptions& job) {
  if (!models::is_published(job.autoencoder)) return;
  const auto require = [](bool holds, const std::string& option, const std::string& value, const std::string& remedy) {
    if (holds) return;
    refuse(option, value + ", with autoencoder.compatibility = published", "the published code has another",
           remedy + ", or autoencoder.compatibility = none");
  };
  const auto runs = [&job](const char* stage) {
    return std::find(job.run.stages.begin(), job.run.stages.end(), stage) != job.run.stages.end();
  };
  const auto list = [](const std::vector<int>& values) { return fmt::format("'{}'", fmt::join(values, ",")); };
  require(ct::window_of(job.data.window) == ct::window_of("leda"), "data.window", job.data.window, "leda");
  if (runs("pretrain")) {
    const auto& network = job.autoencoder;
    const double commitment = job.autoencoder_training.commitment_weight;
    const std::vector<int> attention = models::published_attention_levels(network);
    require(network.strides == std::vector<int>{16, 4, 1}, "autoencoder.strides", list(network.strides), "16,4,1");
    require(network.attention_levels == attention, "autoencoder.attention_levels", list(network.attention_levels),
            list(attention) + ": attention at 16 x 16 of 512 x 512 images");
    require(!job.vocabulary.normalise_rows, "vocabulary.normalise_rows", "true", "false: its codebook is not scaled");
    require(job.vocabulary.control == "none", "vocabulary.control", job.vocabulary.control, "none");
    require(network.distance == "euclidean", "autoencoder.distance", network.distance, "euclidean");
    require(network.temperature == 1.0, "autoencoder.temperature", fmt::format("{}", network.temperature), "1");
    require(!network.normalise_latents, "autoencoder.normalise_latents", "true", "false");
    require(commitment == 1.0, "autoencoder.commitment_weight", fmt::format("{}", commitment), "1");
  }
  if (runs("denoise")) {
    require(job.leda.weight == 0.0 || job.leda.weight == 0.5, "leda.weight", fmt::format("{}", job.leda.weight),
            "0.5 (or 0, the baseline)");
    require(job.leda.token_term == "hard", "leda.token_term", job.leda.token_term, "hard");
    require(job.leda.token_weight == 1.0, "leda.token_weight", fmt::format("{}", job.leda.token_weight), "1");
  }
}

void check_combinations(const training::JobOptions& job) {
  check_published(job);
  if (job.autoencoder.normalise_latents && !job.vocabulary.normalise_rows) {
    refuse("autoencoder.normalise_latents", "true, with vocabulary.normalise_rows = false",
           "latents of length 1 cannot come near words of other lengths", "vocabulary.normalise_rows = true");
  }
  if (job.distributed.reproducible && job.distributed.wire_type != "full") {
    refuse("distributed.wire_type", job.distributed.wire_type + ", with distributed.reproducible = true",
           "what is rounded would depend on the number of ranks", "full, or distributed.reproducible = false");
  }
  if (job.words.source == "scores" && job.words.scores.empty()) {
    refuse("words.scores", "empty, with words.source = scores", "the candidate words stand in that file",
           "name a file that data_tools/score_words.py made, or set words.source = tissue");
  }
  if (job.words.source == "tissue" && job.words.restrict_to_tissue) {
    refuse("words.restrict_to_tissue", "true, with words.source = tissue", "there are no scores to restrict",
           "set words.source = scores, or words.restrict_to_tissue = false");
  }
}

void check_phantoms(const training::DataOptions& data) {
  if (data.source != "phantoms") return;
  if (data.phantom_size < 64 || data.phantom_size > 512 || data.phantom_size % 16 != 0) {
    refuse("data.phantom_size", std::to_string(data.phantom_size), "", "64 to 512, a multiple of 16");
  }
  require_at_least<std::int64_t>("data.num_train_patients", data.num_train_patients, 1);
  require_at_least<std::int64_t>("data.num_validation_patients", data.num_validation_patients, 1);
  require_at_least<std::int64_t>("data.num_test_patients", data.num_test_patients, 1);
  require_at_least<std::int64_t>("data.slices_per_patient", data.slices_per_patient, 1);
  require_above_zero("data.dose_fraction", data.dose_fraction);
  require_share("data.dose_fraction", data.dose_fraction);
}

}  // namespace

void check_job_options(const training::JobOptions& job) {
  check_names(job);
  check_lengths(job);
  check_sizes(job);
  check_rates(job);
  check_combinations(job);
  check_phantoms(job.data);
}

}  // namespace leda::config
