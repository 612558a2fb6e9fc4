// The tissues the project tells apart, as labels of phantoms and, by Hounsfield range, of real images. Ranges are
// those of reference texts on CT numbers; each row of kTissues names what it covers. The ranges are a partition of
// the HU axis: a tissue is an HU range here, no diagnosis (enhanced liver falls into `blood`, and the documents say
// so).
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace leda::ct {

enum class Tissue : std::uint8_t { air = 0, lung, fat, water, soft, blood, bone, metal };
inline constexpr int kNumTissues = 8;

struct TissueRange {
  Tissue tissue;
  std::string_view name;
  double upper_hu;  // the range reaches from the row before's upper_hu up to, and without, this one
};

inline constexpr std::array<TissueRange, kNumTissues> kTissues{{{Tissue::air, "air", -900.0},
                                                                {Tissue::lung, "lung", -300.0},
                                                                {Tissue::fat, "fat", -30.0},
                                                                {Tissue::water, "water", 20.0},
                                                                {Tissue::soft, "soft", 90.0},
                                                                {Tissue::blood, "blood", 200.0},
                                                                {Tissue::bone, "bone", 2000.0},
                                                                {Tissue::metal, "metal", 1.0e9}}};

// Labels (uint8, same shape) of an image in HU.
at::Tensor tissue_of_hu(const at::Tensor& image_hu);

}  // namespace leda::ct
