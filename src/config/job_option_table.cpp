#include "config/job_option_table.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/choice.hpp"
#include "base/error.hpp"
#include "config/job_sections.hpp"
#include "ct/hounsfield.hpp"
#include "losses/pixel_loss.hpp"
#include "training/run/training_plans.hpp"

namespace leda::config {
namespace {

[[noreturn]] void refuse(const std::string& key, const std::string& value, const std::string& why,
                         const std::string& remedy) {
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "option " + key, .value = value, .why = why, .remedy = remedy});
}

// Each by itself was checked where it was read.
void check_losses(const std::vector<std::string>& losses) {
  try {
    losses::pixel_losses_of(losses);
  } catch (const base::Error& fault) {
    refuse("denoiser.losses", losses.empty() ? "empty" : fault.text().value, fault.text().why, fault.text().remedy);
  }
}

// What the published code computes cannot be had with other settings of these, where the stage that reads them runs.
void check_published(const training::JobOptions& job) {
  if (!models::is_published(job.pretrain.autoencoder)) return;
  const auto require = [](bool holds, const std::string& option, const std::string& value, const std::string& remedy) {
    if (holds) return;
    refuse(option, value + ", with autoencoder.compatibility = published", "the published code has another",
           remedy + ", or autoencoder.compatibility = none");
  };
  const auto list = [](const std::vector<int>& values) { return fmt::format("'{}'", fmt::join(values, ",")); };
  require(ct::window_of(job.data.window) == ct::window_of("leda"), "data.window", job.data.window, "leda");
  if (training::has_stage(job, training::JobStage::pretrain)) {
    const auto& network = job.pretrain.autoencoder;
    const double commitment = job.pretrain.training.commitment_weight;
    const std::vector<int> attention = models::published_attention_levels(network);
    require(network.strides == std::vector<int>{16, 4, 1}, "autoencoder.strides", list(network.strides), "16,4,1");
    require(network.attention_levels == attention, "autoencoder.attention_levels", list(network.attention_levels),
            list(attention) + ": attention at 16 x 16 of 512 x 512 images");
    require(!job.pretrain.vocabulary.normalise_rows, "vocabulary.normalise_rows", "true",
            "false: its codebook is not scaled");
    require(job.pretrain.vocabulary.ablation == language::CodebookAblation::none, "vocabulary.control",
            base::name_of(job.pretrain.vocabulary.ablation), "none");
    require(network.distance == models::WordDistance::euclidean, "autoencoder.distance",
            base::name_of(network.distance), "euclidean");
    require(network.temperature == 1.0, "autoencoder.temperature", fmt::format("{}", network.temperature), "1");
    require(!network.normalise_latents, "autoencoder.normalise_latents", "true", "false");
    require(commitment == 1.0, "autoencoder.commitment_weight", fmt::format("{}", commitment), "1");
  }
  if (training::has_stage(job, training::JobStage::denoise)) {
    require(job.denoise.leda.weight == 0.0 || job.denoise.leda.weight == 0.5, "leda.weight",
            fmt::format("{}", job.denoise.leda.weight), "0.5 (or 0, the baseline)");
    require(job.denoise.leda.token_term == losses::TokenTerm::hard, "leda.token_term",
            base::name_of(job.denoise.leda.token_term), "hard");
    require(job.denoise.leda.token_weight == 1.0, "leda.token_weight", fmt::format("{}", job.denoise.leda.token_weight),
            "1");
  }
}

}  // namespace

ProgramDescription train_program() {
  return {.name = "leda_dist_train",
          .summary =
              "trains an autoencoder whose tokens are words (stage 1) and denoisers with and without the LEDA "
              "loss (stage 2), then evaluates them",
          .description = "The same command again goes on where the run stopped.",
          .examples = {{"mpirun -np 2 leda_dist_train", "the embedded job (configs/quickstart.cfg), on 2 ranks"},
                       {"mpirun -np 2 leda_dist_train --config FILE", "your own; the command line wins over the file"}},
          .actions = {{"--dry-run", "check data, disk, ranks, devices and a checkpoint; train nothing"},
                      {"--new-run", "start afresh in a new folder beside the old run"},
                      {"--report", "print the table of the newest run"}}};
}

void bind_job_options(OptionTable& table, training::JobOptions& job) {
  bind_run(table, job);
  bind_data(table, job);
  bind_vocabulary(table, job);
  bind_words(table, job);
  bind_autoencoder(table, job);
  bind_discriminator(table, job);
  bind_denoiser(table, job);
  bind_leda(table, job);
  bind_training(table, job);
  bind_checkpoint(table, job);
  bind_distributed(table, job);
  bind_logging(table, job);
  bind_evaluation(table, job);
}

training::OptionValues option_values(const OptionTable& table) {
  training::OptionValues values;
  for (const OptionDescription& option : table.descriptions()) {
    values.push_back({option.key, option.text, option.may_change_on_resume});
  }
  return values;
}

void check_job_options(const training::JobOptions& job) {
  if (job.run.stages.empty()) refuse("run.stages", "empty", "there is nothing to do", "name at least one stage");
  check_losses(job.denoise.training.losses);
  check_published(job);
  if (job.pretrain.autoencoder.normalise_latents && !job.pretrain.vocabulary.normalise_rows) {
    refuse("autoencoder.normalise_latents", "true, with vocabulary.normalise_rows = false",
           "latents of length 1 cannot come near words of other lengths", "vocabulary.normalise_rows = true");
  }
  if (job.distributed.reproducible && job.distributed.gradient_compression != distributed::GradientCompression::full) {
    refuse("distributed.wire_type",
           base::name_of(job.distributed.gradient_compression) + ", with distributed.reproducible = true",
           "what is rounded would depend on the number of ranks", "full, or distributed.reproducible = false");
  }
  if (job.pretrain.words.source == language::CandidateSource::scores && job.pretrain.words.scores.empty()) {
    refuse("words.scores", "empty, with words.source = scores", "the candidate words stand in that file",
           "name a file that data_tools/score_words.py made, or set words.source = tissue");
  }
  if (job.pretrain.words.source == language::CandidateSource::tissue && job.pretrain.words.restrict_to_tissue) {
    refuse("words.restrict_to_tissue", "true, with words.source = tissue", "there are no scores to restrict",
           "set words.source = scores, or words.restrict_to_tissue = false");
  }
}

}  // namespace leda::config
