#include "models/pyramid_quantizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>

#include "models/pyramid_masks.hpp"

namespace leda::models {
namespace {

// The quantised value forward, the gradient to the latent backward. Adding (zq - z) to z instead would round.
class StraightThrough : public torch::autograd::Function<StraightThrough> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext*, const at::Tensor& /*latent*/,
                            const at::Tensor& quantized) {
    return quantized.clone();
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext*,
                                                 const torch::autograd::variable_list& output_gradients) {
    return {output_gradients[0], at::Tensor()};
  }
};

// The view of a B x h x w x ... (or h x w) map at a level's positions; `axis` is that of the rows.
at::Tensor at_positions(const at::Tensor& map, const PyramidLevel& level, std::int64_t axis) {
  return map.slice(axis, level.offset, std::nullopt, level.stride)
      .slice(axis + 1, level.offset, std::nullopt, level.stride);
}

// How many of the existing levels hold each position: h x w x 1, as values to divide by.
at::Tensor final_counts(const std::vector<PyramidLevel>& levels, const at::Tensor& latent) {
  at::Tensor counts = at::zeros({latent.size(1), latent.size(2), 1}, latent.options());
  for (const PyramidLevel& level : levels) {
    if (level.exists()) at_positions(counts, level, 0).add_(1);
  }
  return counts;
}

}  // namespace

QuantizedLatent quantize_pyramid(const at::Tensor& latent, const at::Tensor& codebook, const std::vector<int>& strides,
                                 std::int64_t vocabulary_tile, const QuantizeRequest& request,
                                 const VocabularyMetric& metric) {
  const c10::AutoGradMode grad_mode(request.gradients && c10::GradMode::is_enabled());
  const at::Tensor by_position = latent.permute({0, 2, 3, 1});  // B x h x w x C
  const at::Tensor words = codebook.detach();
  const std::int64_t channels = latent.size(1);
  const double elements_per_image = static_cast<double>(channels * latent.size(2) * latent.size(3));
  const std::vector<PyramidLevel> levels = pyramid_levels(strides, latent.size(2), latent.size(3));

  // The sum of the embeddings chosen so far at each position, and their number.
  at::Tensor sums = at::zeros(by_position.sizes(), latent.options().requires_grad(false));
  at::Tensor counts = at::zeros({latent.size(2), latent.size(3), 1}, sums.options());
  const at::Tensor last_counts = final_counts(levels, by_position.detach());

  QuantizedLatent result;
  result.commitment = at::zeros({latent.size(0)}, sums.options());
  for (const PyramidLevel& level : levels) {
    LevelTokens& tokens = result.levels.emplace_back();
    if (!level.exists()) continue;
    tokens.exists = true;
    const at::Tensor level_latent = at_positions(by_position, level, 1);
    at::Tensor level_sums = at_positions(sums, level, 1);
    at::Tensor level_counts = at_positions(counts, level, 0);

    // Eq. (2) summed up: z^l = (1 + n) z - (e + ... + e) after n levels at this position.
    tokens.inputs = level_latent * (level_counts + 1) - level_sums;
    const VocabularyScores scores =
        score_vocabulary(tokens.inputs.reshape({-1, channels}), words, vocabulary_tile, request.log_partition, metric);
    tokens.tokens = scores.best.view({latent.size(0), level.rows, level.columns});
    if (request.log_partition) tokens.log_partition = scores.log_partition.view(tokens.tokens.sizes());
    if (request.margins) {
      const at::Tensor vectors = tokens.inputs.detach().reshape({-1, channels});
      tokens.margins = score_margins(vectors, words, vocabulary_tile, metric).view(tokens.tokens.sizes());
    }

    // Eq. (3): the running mean of the embeddings, which the commitment draws the latent to.
    level_sums.add_(words.index_select(0, scores.best).view(level_sums.sizes()));
    level_counts.add_(1);
    const at::Tensor divisor = request.final_count_in_commitment ? at_positions(last_counts, level, 0) : level_counts;
    const at::Tensor mean_embedding = level_sums / divisor;
    result.commitment =
        result.commitment + (level_latent - mean_embedding).square().sum({1, 2, 3}) / elements_per_image;
  }
  result.quantized = (sums / counts).permute({0, 3, 1, 2}).contiguous();
  result.straight_through = StraightThrough::apply(latent, result.quantized);
  return result;
}

}  // namespace leda::models
