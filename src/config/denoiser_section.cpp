#include "config/job_sections.hpp"
#include "losses/pixel_loss.hpp"

namespace leda::config {

void bind_denoiser(OptionTable& table, training::JobOptions& job) {
  table.section("denoiser", "network, training of stage 2");
  table.add("denoiser.type", "network", &job.denoise.denoiser.type, {.names = models::denoiser_types()});
  table.add("denoiser.channels", "width of the network", &job.denoise.denoiser.channels, {.range = at_least(1)});
  table.add("denoiser.input_scale", "s of f(u) = network(s u) / s; about 10 for wide windows",
            &job.denoise.denoiser.input_scale, {.range = above(0)});
  table.add("denoiser.zero_last_layer", "start with output = input", &job.denoise.denoiser.zero_last_layer);
  table.add("denoiser.num_steps", "length of stage 2", &job.denoise.training.num_steps,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("denoiser.global_batch", "images per step of stage 2; 0 = training.global_batch",
            &job.denoise.training.global_batch, {.range = at_least(0)});
  table.add("denoiser.learning_rate", "of the denoiser", &job.denoise.training.learning_rate, {.range = above(0)});
  table.add("denoiser.beta1", "Adam's first decay rate in stage 2", &job.denoise.training.beta1,
            {.range = from_to_below(0, 1)});
  table.add("denoiser.beta2", "Adam's second decay rate in stage 2", &job.denoise.training.beta2,
            {.range = from_to_below(0, 1)});
  table.add("denoiser.crop", "side of random crops in pixels; 0 = whole images", &job.denoise.training.crop,
            {.range = at_least(0)});
  table.add(
      "denoiser.losses",
      "pixel losses, NAME or NAME:WEIGHT: mse (mean squared error), l1 (mean absolute error); the LEDA loss comes "
      "on top",
      &job.denoise.training.losses, {.check = losses::pixel_loss_of});
  table.add("denoiser.augment", "flip and turn training images at random", &job.denoise.training.augment);
}

}  // namespace leda::config
