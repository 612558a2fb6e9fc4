#include "evaluation/image_words.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace leda::evaluation {
namespace {

void require_finite(const std::vector<models::NamedTensor>& entries, const std::string& file) {
  for (const models::NamedTensor& entry : entries) {
    if (at::isfinite(entry.tensor).all().item<bool>()) continue;
    throw base::ErrorOnAllRanks(base::ExitCode::data, {.what = fmt::format("{}: entry {}", file, entry.name),
                                                       .value = "holds NaN or infinity",
                                                       .why = "every word would be without meaning",
                                                       .remedy = "train the autoencoder again, or use another file"});
  }
}

}  // namespace

WordReader::WordReader(std::shared_ptr<const models::Autoencoder> autoencoder, const ct::Window& window,
                       const std::string& file)
    : autoencoder_(std::move(autoencoder)), window_(window) {
  require_finite(autoencoder_->tensors().parameters, file);
  require_finite(autoencoder_->tensors().buffers, file);
  codebook_ = autoencoder_->codebook().detach().cpu().to(at::kDouble);
}

std::vector<LevelWords> WordReader::read(const at::Tensor& image_hu, bool with_margins) const {
  const c10::NoGradGuard no_gradients;
  const at::Tensor image = ct::to_network_range(image_hu.to(at::kDouble), window_);
  const at::Tensor batch = image.to(autoencoder_->codebook().options()).unsqueeze(0).unsqueeze(0);
  const models::QuantizedLatent latent =
      autoencoder_->quantize(autoencoder_->encode(batch), {.gradients = false, .margins = with_margins});
  const std::vector<int>& strides = autoencoder_->options().strides;
  std::vector<LevelWords> levels(strides.size());
  for (std::size_t k = 0; k < levels.size(); ++k) {
    levels[k].cell_pixels = static_cast<std::int64_t>(strides[k]) * autoencoder_->downsampling();
    levels[k].exists = latent.levels[k].exists;
    if (!levels[k].exists) continue;
    levels[k].tokens = latent.levels[k].tokens[0].cpu().contiguous();
    if (with_margins) levels[k].margins = latent.levels[k].margins[0].cpu().to(at::kDouble).contiguous();
  }
  return levels;
}

at::Tensor cells_in_body(const at::Tensor& body, const LevelWords& level) {
  at::Tensor inside = at::zeros({level.rows(), level.columns()}, at::kBool);
  const at::Tensor counted = body.to(at::kLong);
  for (std::int64_t r = 0; r < level.rows(); ++r) {
    for (std::int64_t c = 0; c < level.columns(); ++c) {
      const std::int64_t top = r * level.cell_pixels, left = c * level.cell_pixels;
      const at::Tensor cell = counted.slice(0, top, std::min(top + level.cell_pixels, body.size(0)))
                                  .slice(1, left, std::min(left + level.cell_pixels, body.size(1)));
      inside[r][c] = 2 * cell.sum().item<std::int64_t>() >= cell.numel();
    }
  }
  return inside;
}

}  // namespace leda::evaluation
