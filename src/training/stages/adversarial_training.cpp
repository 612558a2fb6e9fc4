#include "training/stages/adversarial_training.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/where.h>

#include "base/error.hpp"
#include "distributed/core/differentiable_sum.hpp"
#include "losses/adversarial_loss.hpp"

namespace leda::training {
namespace {

// One image's loss must not depend on the images beside it, or its gradient depends on how they are shared out.
const models::DiscriminatorOptions& separable(const models::DiscriminatorOptions& options, bool is_reproducible) {
  if (!is_reproducible || options.norm != models::DiscriminatorNorm::batch) return options;
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "distributed.reproducible cannot be had with discriminator.norm = batch",
                               .value = "true, with a discriminator (discriminator.weight is not 0)",
                               .why = "batch normalisation couples the samples of a step, and a reproducible step runs "
                                      "each sample by itself",
                               .remedy = "set discriminator.norm = group, or discriminator.weight = 0"});
}

// The autoencoder's schedule at the discriminator's own rate.
LearningRateSchedule discriminator_schedule(const PretrainOptions& options, const TrainingPlan& plan,
                                            const TrainingOptions& training) {
  LearningRateSchedule schedule = plan.schedule;
  schedule.base = scaled_learning_rate(options.adversarial.learning_rate, plan.global_batch, training);
  return schedule;
}

}  // namespace

AdversarialTraining::AdversarialTraining(const PretrainOptions& options, const TrainingPlan& plan,
                                         const StageContext& context)
    : context_(context),
      options_(options.adversarial),
      sum_over_ranks_([&communicator = context.communicator, trace = context.trace](const at::Tensor& tensor) {
        return distributed::sum_over_ranks(tensor, communicator, trace);
      }),
      discriminator_(separable(options.discriminator, context.distributed.reproducible), context.settings),
      trained_({"discriminator.", "discriminator_bucket_plan"}, discriminator_.tensors(),
               {options.training.beta1, options.training.beta2},
               discriminator_schedule(options, plan, context.training), context) {}

void AdversarialTraining::begin_step(const data::StepBatch& batch) {
  trained_.set_trained(false);
  batch_ = &batch;
  statistics_before_.clear();
  if (!acts_in(batch.step)) return;
  for (const models::NamedTensor& entry : discriminator_.tensors().buffers) {
    statistics_before_.push_back(entry.tensor.clone());
  }
}

double AdversarialTraining::num_weights() const {
  if (context_.distributed.reproducible) return static_cast<double>(batch_->global_count);
  return static_cast<double>(batch_->micro_batches.size()) * context_.communicator.size();
}

at::Tensor AdversarialTraining::adaptive_weight(const at::Tensor& nll, const at::Tensor& generator,
                                                const at::Tensor& last_layer) const {
  if (!context_.distributed.reproducible) {
    return losses::adaptive_weight(nll, generator, last_layer, sum_over_ranks_, options_.weight);
  }
  // Each image's own: a weight common to the batch would couple its samples. Of the image's whole losses, not of their
  // shares in the mean.
  const auto of_this_image = [](const at::Tensor& tensor) { return tensor; };
  const auto count = static_cast<double>(batch_->global_count);
  return losses::adaptive_weight(nll * count, generator * count, last_layer, of_this_image, options_.weight);
}

at::Tensor AdversarialTraining::generator_term(const at::Tensor& reconstructed, const at::Tensor& nll,
                                               const at::Tensor& last_layer, std::size_t micro_batch,
                                               StepReport& report) const {
  const at::Tensor logits = discriminator_.logits(reconstructed, /*training=*/true, sum_over_ranks_);
  const at::Tensor generator = losses::generator_loss(logits).sum() / static_cast<double>(batch_->global_count);
  const at::Tensor adaptive = adaptive_weight(nll, generator, last_layer);
  report.add("generator", micro_batch, generator);
  report.add("adaptive_weight", micro_batch, adaptive / num_weights());
  return adaptive * generator;
}

at::Tensor AdversarialTraining::update(const std::vector<Reconstruction>& reconstructions,
                                       const at::Tensor& is_autoencoder_skipped, StepReport& report) {
  trained_.set_trained(true);
  trained_.begin_step(*batch_, reconstructions.size());
  for (std::size_t i = 0; i < reconstructions.size(); ++i) {
    const at::Tensor real = discriminator_.logits(reconstructions[i].normal_dose, true, sum_over_ranks_);
    const at::Tensor fake = discriminator_.logits(reconstructions[i].reconstructed, true, sum_over_ranks_);
    const at::Tensor loss =
        losses::discriminator_hinge_loss(real, fake).sum() / static_cast<double>(batch_->global_count);
    trained_.accumulate(loss, i + 1 == reconstructions.size());
    report.add("discriminator", i, loss);
  }
  const at::Tensor is_skipped = is_autoencoder_skipped.maximum(trained_.update().is_skipped);
  // Images that spoiled an update have passed through the batch normalisation too.
  std::vector<models::NamedTensor>& statistics = discriminator_.tensors().buffers;
  for (std::size_t i = 0; i < statistics.size(); ++i) {
    statistics[i].tensor.copy_(at::where(is_skipped > 0, statistics_before_[i], statistics[i].tensor));
  }
  return is_skipped;
}

}  // namespace leda::training
