// Stage 1: the autoencoder learns to reconstruct normal-dose images through tokens of a frozen vocabulary
// (docs/methods/autoencoder.md; LEDA section "pretraining", VQGAN's losses). One step updates the autoencoder, then,
// from its start step on, the discriminator, on the same reconstructions.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "language/candidate_words.hpp"
#include "language/tissue_words.hpp"
#include "language/token_usage.hpp"
#include "language/vocabulary.hpp"
#include "models/autoencoder.hpp"
#include "models/patch_discriminator.hpp"
#include "models/perceptual_network.hpp"
#include "training/parameter_updater.hpp"
#include "training/stage.hpp"
#include "training/stage_context.hpp"

namespace leda::training {

class PretrainStage : public Stage {
 public:
  PretrainStage(const StageContext& context, const language::Vocabulary& vocabulary);

  LossReport train_step(const data::StepBatch& batch) override;
  std::vector<logging::Scalar> interval_figures() override;
  ValidationReport validate(std::int64_t step) override;
  StageState state() const override;
  void load_state(const StageState& state) override;
  std::string identity() const override;

  const models::Autoencoder& autoencoder() const { return autoencoder_; }

 private:
  struct Reconstruction {  // of one micro-batch
    at::Tensor normal_dose;
    at::Tensor reconstructed;
  };
  // Named per-image sums divided by the global count, and the loss to descend.
  struct AutoencoderLoss {
    LossReport parts;
    at::Tensor total;
  };

  bool has_discriminator() const { return discriminator_ != nullptr; }
  bool adversarial_at(std::int64_t step) const;
  AutoencoderLoss autoencoder_loss(const ct::ImageBatch& batch, std::int64_t global_count, bool adversarial,
                                   Reconstruction& reconstruction);
  LossReport update_autoencoder(const data::StepBatch& batch, bool adversarial,
                                std::vector<Reconstruction>& reconstructions);
  LossReport update_discriminator(const data::StepBatch& batch, const std::vector<Reconstruction>& reconstructions);
  std::vector<language::LevelCandidates> candidates_of(const at::Tensor& tissue,
                                                       const models::QuantizedLatent& latent) const;
  void check_codebook_is_frozen() const;

  StageContext context_;
  models::SumOverRanks sum_over_ranks_;
  language::TissueWords tissue_words_;
  models::Autoencoder autoencoder_;
  std::string codebook_hash_;
  std::unique_ptr<models::PatchDiscriminator> discriminator_;
  std::unique_ptr<models::PerceptualNetwork> perceptual_;
  language::CandidateWords candidate_words_;
  language::TokenUsage usage_;
  LearningRateSchedule schedule_;
  LearningRateSchedule discriminator_schedule_;
  std::unique_ptr<ParameterUpdater> updater_;
  std::unique_ptr<ParameterUpdater> discriminator_updater_;
};

}  // namespace leda::training
