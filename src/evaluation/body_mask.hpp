// The region that tables call "inside the body": air around the patient would flatter every denoiser.
#pragma once

#include <ATen/core/Tensor.h>

namespace leda::evaluation {

inline constexpr double kBodyThresholdHu = -500.0;

// uint8, H x W, 1 inside the body. Outside is what pixels below -500 HU connect to the image border (4-connected), so
// lungs and bowel gas are inside. Of the rest the largest 8-connected component is kept: islands go, and a table with
// them as far as air separates it from the patient. All zero for an image of air.
at::Tensor body_mask(const at::Tensor& normal_dose_hu);

}  // namespace leda::evaluation
