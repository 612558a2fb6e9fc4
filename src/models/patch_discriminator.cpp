#include "models/patch_discriminator.hpp"

#include <ATen/ops/leaky_relu.h>
#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"

namespace leda::models {
namespace {

constexpr double kSlope = 0.2;
constexpr double kDeviation = 0.02;
constexpr int kNormGroups = 32;
constexpr int kLargestMultiplier = 8;

void check(const DiscriminatorOptions& options) {
  if (options.channels < 1 || options.layers < 1 || options.layers > 8) {
    throw base::Error(base::ExitCode::options,
                      {.what = "The discriminator cannot be built",
                       .value = fmt::format("{} channels, {} layers", options.channels, options.layers),
                       .why = {},
                       .remedy = "discriminator.channels of at least 1, discriminator.layers from 1 to 8"});
  }
}

}  // namespace

PatchDiscriminator::PatchDiscriminator(const DiscriminatorOptions& options, const TensorSettings& settings) {
  check(options);
  const TensorScope scope = TensorScope(table_, settings).child("main");
  const Initialisation conv_start = Initialisation::normal(0.0, kDeviation);
  const Initialisation norm_start = Initialisation::normal(1.0, kDeviation);
  // Names count convolutions, norms and activations alike: 0, then 2 and 3, 5 and 6, ...
  int position = 0;
  std::int64_t channels = 1;
  for (int layer = 0; layer <= options.layers + 1; ++layer) {
    const bool is_first = layer == 0;
    const bool is_output = layer == options.layers + 1;
    const bool has_norm = !is_first && !is_output;
    const std::int64_t multiplier = std::min(1 << layer, kLargestMultiplier);
    const std::int64_t out_channels = is_output ? 1 : options.channels * multiplier;
    Stage stage;
    stage.conv = make_conv2d(scope.child(fmt::to_string(position)),
                             {.in_channels = channels,
                              .out_channels = out_channels,
                              .kernel = 4,
                              .stride = layer < options.layers ? 2 : 1,
                              .padding = 1,
                              .bias = !has_norm},
                             conv_start);
    if (has_norm) {
      const TensorScope norm_scope = scope.child(fmt::to_string(position + 1));
      if (options.norm == DiscriminatorNorm::batch)
        stage.batch_norm = make_batch_norm(norm_scope, out_channels, norm_start);
      if (options.norm == DiscriminatorNorm::group)
        stage.group_norm = make_group_norm(norm_scope, out_channels, kNormGroups, 1e-5);
    }
    position += has_norm ? 3 : 2;
    channels = out_channels;
    stages_.push_back(std::move(stage));
  }
}

at::Tensor PatchDiscriminator::logits(const at::Tensor& images, bool training,
                                      const SumOverRanks& sum_over_ranks) const {
  at::Tensor features = images;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    const Stage& stage = stages_[i];
    features = stage.conv(features);
    if (stage.batch_norm) features = (*stage.batch_norm)(features, training, sum_over_ranks);
    if (stage.group_norm) features = (*stage.group_norm)(features);
    if (i + 1 < stages_.size()) features = at::leaky_relu(features, kSlope);
  }
  return features;
}

}  // namespace leda::models
