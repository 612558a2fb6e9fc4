#include "ct/phantom_canvas.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>

namespace leda::ct {
namespace {

constexpr float kAirHu = -1000.0F;

at::Tensor tensor_of(const std::vector<float>& values, int size) {
  const at::Tensor image = at::empty({size, size}, at::kFloat);
  std::copy(values.begin(), values.end(), image.data_ptr<float>());
  return image;
}

// Pixels whose centres may lie within `reach_mm` of `centre_mm`, along one axis.
struct PixelRange {
  int first;
  int last;
};

PixelRange pixels_near(double centre_mm, double reach_mm, double pixel_mm, int size) {
  const double centre = centre_mm / pixel_mm + 0.5 * (size - 1);
  const double reach = reach_mm / pixel_mm;
  return {std::max(0, static_cast<int>(std::ceil(centre - reach))),
          std::min(size - 1, static_cast<int>(std::floor(centre + reach)))};
}

}  // namespace

PhantomCanvas::PhantomCanvas(int size, double pixel_mm, const Pose& pose, Edges edges)
    : size_(size),
      pixel_mm_(pixel_mm),
      pose_(pose),
      edges_(edges),
      hu_(static_cast<std::size_t>(size) * static_cast<std::size_t>(size), kAirHu),
      texture_hu_(hu_.size(), 0.0F) {}

// Share of a pixel that lies inside; u and v are the pixel's place in units of the half axes.
double PhantomCanvas::coverage(const WavyEllipse& ellipse, double u, double v) const {
  const double radius = std::sqrt(u * u + v * v);
  const double waves = std::abs(ellipse.wave_2) + std::abs(ellipse.wave_3);
  const double margin =
      edges_ == Edges::hard ? 0.0 : pixel_mm_ / std::min(ellipse.half_width_mm, ellipse.half_height_mm);
  if (radius < 1.0 - waves - margin || radius == 0.0) return 1.0;
  if (radius > 1.0 + waves + margin) return 0.0;
  // cos 2a, cos 3a and sin 3a of the angle a, by the powers of cos a + i sin a.
  const double c = u / radius, s = v / radius;
  const double cos_2 = c * c - s * s;
  const double cos_3 = c * (c * c - 3.0 * s * s), sin_3 = s * (3.0 * c * c - s * s);
  const double outline = 1.0 + ellipse.wave_2 * cos_2 +
                         ellipse.wave_3 * (cos_3 * std::cos(ellipse.phase_3) - sin_3 * std::sin(ellipse.phase_3));
  if (edges_ == Edges::hard) return radius < outline ? 1.0 : 0.0;
  // Distance to the outline to first order: what the radius lacks over the length of its gradient.
  const double gradient_per_mm = std::hypot(c / ellipse.half_width_mm, s / ellipse.half_height_mm);
  return std::clamp(0.5 - (radius - outline) / (gradient_per_mm * pixel_mm_), 0.0, 1.0);
}

void PhantomCanvas::paint(const WavyEllipse& ellipse, const Material& material) {
  if (ellipse.half_width_mm <= 0.0 || ellipse.half_height_mm <= 0.0) return;
  const double x_mm = pose_.x_mm + ellipse.x_mm * std::cos(pose_.turn) - ellipse.y_mm * std::sin(pose_.turn);
  const double y_mm = pose_.y_mm + ellipse.x_mm * std::sin(pose_.turn) + ellipse.y_mm * std::cos(pose_.turn);
  const double cosine = std::cos(pose_.turn + ellipse.turn), sine = std::sin(pose_.turn + ellipse.turn);
  const double growth = 1.0 + std::abs(ellipse.wave_2) + std::abs(ellipse.wave_3);
  const PixelRange columns =
      pixels_near(x_mm, pixel_mm_ + growth * std::hypot(ellipse.half_width_mm * cosine, ellipse.half_height_mm * sine),
                  pixel_mm_, size_);
  const PixelRange rows =
      pixels_near(y_mm, pixel_mm_ + growth * std::hypot(ellipse.half_width_mm * sine, ellipse.half_height_mm * cosine),
                  pixel_mm_, size_);
  for (int row = rows.first; row <= rows.last; ++row) {
    const double dy_mm = (row - 0.5 * (size_ - 1)) * pixel_mm_ - y_mm;
    for (int column = columns.first; column <= columns.last; ++column) {
      const double dx_mm = (column - 0.5 * (size_ - 1)) * pixel_mm_ - x_mm;
      const double u = (dx_mm * cosine + dy_mm * sine) / ellipse.half_width_mm;
      const double v = (dy_mm * cosine - dx_mm * sine) / ellipse.half_height_mm;
      const auto share = static_cast<float>(coverage(ellipse, u, v));
      if (share == 0.0F) continue;
      const auto pixel =
          static_cast<std::size_t>(row) * static_cast<std::size_t>(size_) + static_cast<std::size_t>(column);
      hu_[pixel] += share * (static_cast<float>(material.hu) - hu_[pixel]);
      texture_hu_[pixel] += share * (static_cast<float>(material.texture_hu) - texture_hu_[pixel]);
    }
  }
}

at::Tensor PhantomCanvas::hu() const { return tensor_of(hu_, size_); }

at::Tensor PhantomCanvas::texture_hu() const { return tensor_of(texture_hu_, size_); }

}  // namespace leda::ct
