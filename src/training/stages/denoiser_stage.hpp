// Stage 2: any denoiser learns with its pixel loss and, where leda.weight is not 0, with the LEDA loss of a frozen
// autoencoder beside it (docs/methods/leda_loss.md). Weight 0 is the baseline, which never touches an autoencoder.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "losses/pixel_loss.hpp"
#include "model_files/autoencoder_file.hpp"
#include "models/denoiser.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"
#include "training/stages/step_report.hpp"
#include "training/stages/term_gradients.hpp"
#include "training/stages/trained_network.hpp"
#include "training/stages/training_plan.hpp"

namespace leda::training {

// Whether a denoiser after `step` updates may be judged: a fresh one still copies its input, or is far worse than it.
bool is_past_grace_period(std::int64_t step, const TrainingOptions& training);

class DenoiserStage : public Stage {
 public:
  // `autoencoder` is needed if and only if `leda_weight` is not 0 (it takes the place of the options' own: a baseline
  // is trained with the same options), and must be of the same window.
  DenoiserStage(const StageContext& context, const DenoiseOptions& options, const TrainingPlan& plan,
                double leda_weight, std::optional<model_files::AutoencoderFile> autoencoder);

  LossReport train_step(const data::StepBatch& batch, bool is_logged) override;
  std::vector<SkippedUpdates> collect_skipped_updates() override;
  std::vector<logging::Scalar> interval_figures() override;
  // Throws Error(non_finite) on every rank when the network died: it takes away none of the noise.
  std::optional<ValidationReport> validate(std::int64_t step, const std::function<bool()>& should_stop) override;
  StageState state() const override;
  void load_state(const StageState& state) override;
  std::string identity() const override;

  models::TensorTable& tensors() { return denoiser_->tensors(); }
  // Low dose to denoised, B x 1 x H x W in network range, without gradients.
  at::Tensor denoise(const at::Tensor& low_dose) const;

 private:
  // The total of one micro-batch, divided by the images of all ranks.
  at::Tensor loss(const ct::ImageBatch& batch, double global_count, std::size_t micro_batch, StepReport& report);

  StageContext context_;
  DenoiseOptions options_;
  std::vector<losses::WeightedPixelLoss> pixel_losses_;
  double leda_weight_;
  std::optional<model_files::AutoencoderFile> autoencoder_;
  std::unique_ptr<models::Denoiser> denoiser_;
  TrainedNetwork trained_;
  at::Tensor token_agreement_;                   // [levels, 2] over the interval; undefined without an autoencoder
  std::optional<TermGradients> term_gradients_;  // of a step that is logged, with an autoencoder
};

}  // namespace leda::training
