// Stage 1: the autoencoder learns to reconstruct normal-dose images through tokens of a frozen vocabulary
// (docs/methods/autoencoder.md; LEDA section "pretraining", VQGAN's losses). One step updates the autoencoder, then,
// from its start step on, the discriminator, on the same reconstructions.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "language/candidate_words.hpp"
#include "language/scored_candidates.hpp"
#include "language/tissue_words.hpp"
#include "language/token_usage.hpp"
#include "language/vocabulary.hpp"
#include "language/word_scores.hpp"
#include "models/autoencoder.hpp"
#include "models/perceptual_network.hpp"
#include "training/stages/adversarial_training.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"
#include "training/stages/step_report.hpp"
#include "training/stages/trained_network.hpp"

namespace leda::training {

class PretrainStage : public Stage {
 public:
  // Collective. word_scores: of the training slices, by their ids; words.source = scores needs them, tissue has none.
  PretrainStage(const StageContext& context, const PretrainOptions& options, const TrainingPlan& plan,
                const language::Vocabulary& vocabulary, std::optional<language::WordScores> word_scores = std::nullopt);

  LossReport train_step(const data::StepBatch& batch, bool is_logged) override;
  std::vector<SkippedUpdates> collect_skipped_updates() override;
  std::vector<logging::Scalar> interval_figures() override;
  std::optional<ValidationReport> validate(std::int64_t step, const std::function<bool()>& should_stop) override;
  StageState state() const override;
  void load_state(const StageState& state) override;
  std::string identity() const override;

  const models::Autoencoder& autoencoder() const { return autoencoder_; }
  const PretrainOptions& options() const { return options_; }
  const language::TissueWords& tissue_words() const { return tissue_words_; }

 private:
  struct SemanticTerm {  // [B] each
    at::Tensor loss;
    at::Tensor weighted;  // what alpha multiplies
    at::Tensor factor;    // undefined with fixed weighting
  };

  // appearance: [B], reconstruction and perceptual loss.
  SemanticTerm semantic_term(const ct::ImageBatch& images, const models::QuantizedLatent& tokens,
                             const at::Tensor& appearance) const;
  // The loss to descend, of one micro-batch: per-image sums divided by the global count.
  at::Tensor autoencoder_loss(const data::StepBatch& batch, std::size_t micro_batch, bool adversarial,
                              Reconstruction& reconstruction, StepReport& report);
  // Whether the update was skipped, as ParameterUpdater says.
  at::Tensor update_autoencoder(const data::StepBatch& batch, bool adversarial,
                                std::vector<Reconstruction>& reconstructions, StepReport& report);
  std::vector<language::LevelCandidates> candidates_of(const at::Tensor& tissue,
                                                       const models::QuantizedLatent& latent) const;
  // Of training slices: candidates_of their tissue, or those of their word scores.
  std::vector<language::LevelCandidates> training_candidates(const ct::ImageBatch& images,
                                                             const models::QuantizedLatent& latent) const;
  void check_codebook_is_frozen() const;
  void require_saved_codebook(StageState& state) const;

  StageContext context_;
  PretrainOptions options_;
  language::TissueWords tissue_words_;
  models::Autoencoder autoencoder_;
  std::string codebook_hash_;
  std::unique_ptr<models::PerceptualNetwork> perceptual_;
  language::CandidateWords candidate_words_;
  std::optional<language::ScoredCandidates> scored_candidates_;
  language::TokenUsage usage_;
  TrainedNetwork trained_;
  std::unique_ptr<AdversarialTraining> adversarial_;  // none where its weight is 0
};

}  // namespace leda::training
