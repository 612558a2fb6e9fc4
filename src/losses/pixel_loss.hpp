// What a denoiser is trained with beside the LEDA loss: a weighted sum of losses that compare its answer with the
// normal dose. A new one is a function in files of its own and one line in pixel_losses(). Pure functions; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <span>
#include <string>
#include <vector>

namespace leda::losses {

struct PixelLoss {
  const char* name;  // of the option denoiser.losses, and of the figure in the log
  // denoised, normal_dose: B x 1 x H x W, network range; B may be 0. [B], not negative, 0 for equal images.
  at::Tensor (*per_image)(const at::Tensor& denoised, const at::Tensor& normal_dose);
};

// All that there are.
std::span<const PixelLoss> pixel_losses();

struct WeightedPixelLoss {
  PixelLoss loss;
  double weight = 1.0;
};

// Of "NAME" or "NAME:WEIGHT". Throws Error(options) for an unknown name and for a weight that is no finite number above
// 0.
WeightedPixelLoss pixel_loss_of(const std::string& text);
// Throws Error(options) where the list is empty or names a loss twice.
std::vector<WeightedPixelLoss> pixel_losses_of(const std::vector<std::string>& texts);

}  // namespace leda::losses
