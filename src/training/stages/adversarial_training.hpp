// Stage 1's second player: a discriminator that learns to tell reconstructions from normal-dose images, and the term
// that it adds to the autoencoder's loss from its start step on (VQGAN, Esser et al. 2021, section 3.1; LEDA,
// "pretraining"). Borrows the autoencoder's last layer; one thread, the same calls on every rank.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/patch_discriminator.hpp"
#include "training/stages/stage.hpp"
#include "training/stages/stage_context.hpp"
#include "training/stages/step_report.hpp"
#include "training/stages/trained_network.hpp"
#include "training/stages/training_plan.hpp"

namespace leda::training {

// Of one micro-batch: B x 1 x H x W, network range, without gradients.
struct Reconstruction {
  at::Tensor normal_dose;
  at::Tensor reconstructed;
};

class AdversarialTraining {
 public:
  // With discriminator.weight above 0. Throws ErrorOnAllRanks(options) where distributed.reproducible cannot be had.
  // Collective.
  AdversarialTraining(const PretrainOptions& options, const TrainingPlan& plan, const StageContext& context);

  bool acts_in(std::int64_t step) const { return step >= options_.start_step; }

  // Before the autoencoder's update of a step: the discriminator judges there but does not learn, so that its hooks
  // stay silent; and its statistics are remembered where it acts.
  void begin_step(const data::StepBatch& batch);
  // What the autoencoder's loss gains in a step in which this acts: adaptive weight x mean over the global batch of the
  // generator's loss, this rank's share. reconstructed: with gradients. nll: the reconstruction's share of the loss.
  at::Tensor generator_term(const at::Tensor& reconstructed, const at::Tensor& nll, const at::Tensor& last_layer,
                            std::size_t micro_batch, StepReport& report) const;
  // One update of the discriminator on the reconstructions of the autoencoder's update of the same step. Statistics
  // that images of a skipped update of either network have passed through are rolled back. Whether one was skipped.
  at::Tensor update(const std::vector<Reconstruction>& reconstructions, const at::Tensor& is_autoencoder_skipped,
                    StepReport& report);

  TrainedNetwork& network() { return trained_; }
  const TrainedNetwork& network() const { return trained_; }
  const models::TensorTable& tensors() const { return discriminator_.tensors(); }

 private:
  at::Tensor adaptive_weight(const at::Tensor& nll, const at::Tensor& generator, const at::Tensor& last_layer) const;
  // How many adaptive weights all ranks report in a step.
  double num_weights() const;

  StageContext context_;
  AdversarialOptions options_;
  models::SumOverRanks sum_over_ranks_;
  models::PatchDiscriminator discriminator_;
  TrainedNetwork trained_;
  // Of the step begun.
  const data::StepBatch* batch_ = nullptr;
  std::vector<at::Tensor> statistics_before_;
};

}  // namespace leda::training
