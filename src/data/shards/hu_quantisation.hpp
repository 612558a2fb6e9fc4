// HU as shards store them.
#pragma once

#include <ATen/core/Tensor.h>

namespace leda::data {

// To the nearest whole HU, kept within the range of int16.
at::Tensor quantise_hu(const at::Tensor& image_hu);

}  // namespace leda::data
