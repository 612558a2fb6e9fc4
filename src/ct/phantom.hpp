// Axial torso phantoms: labelled anatomy with realistic HU that needs no patient. One phantom is one slice; a patient
// is a number whose slices resemble each other. Plain data, free functions, any thread. docs/methods/phantoms.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace leda::ct {

struct PhantomOptions {
  int size = 128;                   // pixels per side of the image: 64..512, a multiple of 16
  double field_of_view_mm = 360.0;  // the anatomy scales with it, so that the body always lies inside
};

// The object lies on a grid twice as fine as the image's, so that projections of it are not made with the model that
// reconstructs them (the inverse crime).
struct Phantom {
  at::Tensor object_hu;  // float32 [2 size, 2 size]: structures, soft texture, edges blended over one pixel
  at::Tensor tissue;     // uint8 [size, size]: tissue_of_hu of the texture-free structure at each image pixel's centre
  double image_pixel_mm = 0.0;
  double object_pixel_mm = 0.0;
};

inline constexpr int kObjectPixelsPerImagePixel = 2;

// A pure function of its arguments. Throws Error(options) for a size or field of view out of range.
Phantom make_phantom(const PhantomOptions& options, std::uint64_t seed, std::int64_t patient, std::int64_t slice);

}  // namespace leda::ct
