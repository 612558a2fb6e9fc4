// Parallel-beam projection of an object and filtered back-projection onto an image. View k looks along the angle
// k pi / num_views; a ray (angle a, offset s) is x cos a + y sin a = s with x to the right along columns, y down along
// rows, both from the centre. Lengths in mm, attenuation per mm, line integrals without unit. docs/methods/.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include "ct/blocked_matrix.hpp"

namespace leda::ct {

struct ParallelGeometry {
  int image_size = 128;  // pixels per side
  double image_pixel_mm = 2.8125;
  int num_views = 240;  // over 180 degrees, a multiple of 4
  int num_bins = 242;
  double bin_mm = 2.109375;
};

// 15/8 views per pixel of a side, a bin pitch of 3/4 pixel, bins that cover the diagonal of the field of view.
ParallelGeometry make_parallel_geometry(int image_size, double field_of_view_mm);

// Immutable after construction; the const functions may be called from several threads at once. Made of LibTorch
// operations on the CPU: sparse matrices for the interpolations, kept where they fit (images up to 256 x 256 of objects
// up to 512 x 512: 250 MB at most; 128 x 128: 30 MB) and otherwise built piece by piece in each call.
class ParallelProjector {
 public:
  // The object is a square grid of its own, centred like the image: finer for phantoms, the image's own for real
  // slices. Precision: float32 or float64. Throws Error(options) where a number makes no sense.
  ParallelProjector(const ParallelGeometry& geometry, int object_size, double object_pixel_mm,
                    at::ScalarType precision);

  // [B, n, n] attenuation per mm -> [B, views, bins] line integrals (Joseph, IEEE Trans. Med. Imaging 1, 1982).
  // Also takes [n, n] -> [views, bins]. Outside the grid the attenuation is 0.
  at::Tensor project(const at::Tensor& mu_per_mm) const;
  // [B, views, bins] -> [B, size, size] attenuation per mm: Hann-windowed ramp (Kak and Slaney 1988), linear
  // interpolation. Also takes [views, bins] -> [size, size]. Linear in its argument.
  at::Tensor reconstruct(const at::Tensor& line_integrals) const;

  const ParallelGeometry& geometry() const { return geometry_; }
  int object_size() const { return object_size_; }
  double object_pixel_mm() const { return object_pixel_mm_; }
  at::ScalarType precision() const { return precision_; }

 private:
  ParallelGeometry geometry_;
  int object_size_;
  double object_pixel_mm_;
  at::ScalarType precision_;
  at::Tensor filter_;              // real spectrum, [padded / 2 + 1]: ramp, Hann window, bin pitch
  BlockedMatrix rays_;             // [base rays, object pixels]
  BlockedMatrix back_projection_;  // [half the image's pixels, base rays]
};

}  // namespace leda::ct
