#include "config/job_sections.hpp"

namespace leda::config {

void bind_autoencoder(OptionTable& table, training::JobOptions& job) {
  table.section("autoencoder", "network, training of stage 1");
  table.add("autoencoder.channels", "channels at full resolution", &job.pretrain.autoencoder.channels,
            {.range = at_least(1)});
  table.add("autoencoder.multipliers", "channels per level, as multiples; each level halves the resolution",
            &job.pretrain.autoencoder.multipliers, {.range = at_least(1)});
  table.add("autoencoder.encoder_blocks", "residual blocks per level of the encoder",
            &job.pretrain.autoencoder.encoder_blocks, {.range = at_least(1)});
  table.add("autoencoder.decoder_blocks", "residual blocks per level of the decoder",
            &job.pretrain.autoencoder.decoder_blocks, {.range = at_least(1)});
  table.add("autoencoder.latent_channels", "output channels of the encoder; 0 = of its last level",
            &job.pretrain.autoencoder.latent_channels, {.range = at_least(0)});
  table.add("autoencoder.attention_levels", "levels with attention besides the middle; 0 = full resolution",
            &job.pretrain.autoencoder.attention_levels, {.range = at_least(0)});
  table.add("autoencoder.norm_groups", "groups of GroupNorm, reduced where they do not divide the channels",
            &job.pretrain.autoencoder.norm_groups, {.range = at_least(1)});
  table.add("autoencoder.strides", "of the token pyramid, coarse to fine", &job.pretrain.autoencoder.strides,
            {.range = at_least(1)});
  table.add("autoencoder.vocabulary_tile", "words scored at a time", &job.pretrain.autoencoder.vocabulary_tile,
            {.range = at_least(1)});
  table.add("autoencoder.compatibility",
            "none, or published: quantiser and losses as the published code has them, for its weights",
            &job.pretrain.autoencoder.compatibility);
  table.add("autoencoder.distance", "between latents and words: euclidean or cosine",
            &job.pretrain.autoencoder.distance);
  table.add("autoencoder.temperature", "of the softmax over words in the semantic loss",
            &job.pretrain.autoencoder.temperature, {.range = above(0)});
  table.add("autoencoder.normalise_latents", "divide latents by their length; needs vocabulary.normalise_rows",
            &job.pretrain.autoencoder.normalise_latents);
  table.add("autoencoder.num_steps", "length of stage 1", &job.pretrain.training.num_steps,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("autoencoder.global_batch", "images per step of stage 1; 0 = training.global_batch",
            &job.pretrain.training.global_batch, {.range = at_least(0)});
  table.add("autoencoder.learning_rate", "of the autoencoder", &job.pretrain.training.learning_rate,
            {.range = above(0)});
  table.add("autoencoder.beta1", "Adam's first decay rate in stage 1", &job.pretrain.training.beta1,
            {.range = from_to_below(0, 1)});
  table.add("autoencoder.beta2", "Adam's second decay rate in stage 1", &job.pretrain.training.beta2,
            {.range = from_to_below(0, 1)});
  table.add("autoencoder.semantic_weight", "alpha, of the semantic loss; 0 = off",
            &job.pretrain.training.semantic_weight, {.range = at_least(0)});
  table.add(
      "autoencoder.semantic_weighting",
      "fixed, or dynamic: alpha is multiplied by (reconstruction + perceptual loss) / semantic loss of each image",
      &job.pretrain.training.semantic_weighting);
  table.add("autoencoder.commitment_weight", "of the commitment loss", &job.pretrain.training.commitment_weight,
            {.range = at_least(0)});
  table.add("autoencoder.codebook_weight", "of commitment and semantic loss together",
            &job.pretrain.training.codebook_weight, {.range = at_least(0)});
  table.add("autoencoder.perceptual_weight", "of LPIPS; 0 = off", &job.pretrain.training.perceptual_weight,
            {.range = at_least(0)});
  table.add("autoencoder.perceptual_weights", "safetensors file with LPIPS's VGG16 and linear layers",
            &job.pretrain.training.perceptual_weights);
  table.add("autoencoder.flips", "flip training images at random", &job.pretrain.training.flips);
}

}  // namespace leda::config
