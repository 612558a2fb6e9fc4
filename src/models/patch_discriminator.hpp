// PatchGAN discriminator (Isola et al., arXiv 1611.07004, as in taming-transformers): one logit per overlapping patch
// of the image. Owns its tensors (`main.*`). Used from one thread at a time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/layers.hpp"
#include "models/network.hpp"

namespace leda::models {

// batch: over all ranks, as published; group: per image, without communication.
enum class DiscriminatorNorm { batch, group };
constexpr std::array<std::string_view, 2> names_of(DiscriminatorNorm) { return {"batch", "group"}; }

struct DiscriminatorOptions {
  int channels = 64;
  int layers = 3;  // halvings of the resolution
  DiscriminatorNorm norm = DiscriminatorNorm::batch;
};

class PatchDiscriminator {
 public:
  // Convolutions start from N(0, 0.02), norm scales from N(1, 0.02). Throws Error(options).
  PatchDiscriminator(const DiscriminatorOptions& options, const TensorSettings& settings);
  PatchDiscriminator(const PatchDiscriminator&) = delete;
  PatchDiscriminator& operator=(const PatchDiscriminator&) = delete;

  TensorTable& tensors() { return table_; }
  const TensorTable& tensors() const { return table_; }

  // B x 1 x H x W to B x 1 x h x w, 62 x 62 for 512 x 512. With batch normalisation and `training` a collective call:
  // every rank calls it, with or without images, and updates the running statistics alike.
  at::Tensor logits(const at::Tensor& images, bool training, const SumOverRanks& sum_over_ranks) const;

 private:
  struct Stage {
    Conv2d conv;
    std::optional<BatchNorm> batch_norm;
    std::optional<GroupNorm> group_norm;
  };

  TensorTable table_;
  std::vector<Stage> stages_;  // all but the last are followed by LeakyReLU(0.2)
};

}  // namespace leda::models
