// A grid on which phantom structures are painted one over the other, each an ellipse with a wavy outline. A value type
// for one phantom and one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace leda::ct {

// Lengths in mm in the patient's frame: x to the image's right, y down (to the back), from the body's centre.
struct WavyEllipse {
  double x_mm = 0.0;
  double y_mm = 0.0;
  double half_width_mm = 0.0;  // nothing is painted where a half axis is not positive
  double half_height_mm = 0.0;
  double turn = 0.0;  // radians, from x towards y
  // Outline radius times 1 + wave_2 cos(2 angle) + wave_3 cos(3 angle + phase_3).
  double wave_2 = 0.0;
  double wave_3 = 0.0;
  double phase_3 = 0.0;
};

struct Material {
  double hu = 0.0;
  double texture_hu = 0.0;  // standard deviation of the texture that make_phantom lays over the structure
};

// Where the patient lies in the field of view.
struct Pose {
  double x_mm = 0.0;
  double y_mm = 0.0;
  double turn = 0.0;
};

enum class Edges {
  blended,  // over one pixel, by the share of the pixel that is covered
  hard,     // a pixel belongs to what covers its centre
};

class PhantomCanvas {
 public:
  // Air everywhere.
  PhantomCanvas(int size, double pixel_mm, const Pose& pose, Edges edges);

  void paint(const WavyEllipse& ellipse, const Material& material);

  at::Tensor hu() const;          // float32 [size, size]
  at::Tensor texture_hu() const;  // float32 [size, size]

 private:
  double coverage(const WavyEllipse& ellipse, double u, double v) const;

  int size_;
  double pixel_mm_;
  Pose pose_;
  Edges edges_;
  std::vector<float> hu_;
  std::vector<float> texture_hu_;
};

}  // namespace leda::ct
