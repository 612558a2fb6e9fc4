// How far two images are apart, pixel by pixel. Per image, so that the caller forms the mean over all ranks exactly.
#pragma once

#include <ATen/core/Tensor.h>

namespace leda::losses {

// B x ... and B x ... of equal shape -> [B]: the mean of |first - second| over an image's elements; B may be 0.
at::Tensor absolute_error_per_image(const at::Tensor& first, const at::Tensor& second);
// The same with (first - second)^2.
at::Tensor squared_error_per_image(const at::Tensor& first, const at::Tensor& second);

}  // namespace leda::losses
