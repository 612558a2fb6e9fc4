#include "ct/projection.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/fft_irfft.h>
#include <ATen/ops/fft_rfft.h>
#include <ATen/ops/real.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.hpp"

namespace leda::ct {
namespace {

// The symmetry of the square: what the view at an angle t of 0..45 degrees sees of the object's mirror images are the
// views at t, 180 - t, 90 - t and 90 + t degrees of the object itself, and a half turn turns the detector around.
// So one eighth of all rays, the base rays, needs weights; they act on eight copies of the object at once.
constexpr std::int64_t kNumMirrorImages = 4;
constexpr std::int64_t kNumCopies = 2 * kNumMirrorImages;

std::int64_t num_base_views(const ParallelGeometry& geometry) { return geometry.num_views / 4 + 1; }
std::int64_t num_half_bins(const ParallelGeometry& geometry) { return (geometry.num_bins + 1) / 2; }
std::int64_t num_half_rows(const ParallelGeometry& geometry) { return (geometry.image_size + 1) / 2; }

// [..., n, n] -> four of them: the image, left-right mirrored, transposed, mirrored then transposed.
std::vector<at::Tensor> mirror_images(const at::Tensor& image) {
  const at::Tensor mirrored = image.flip({-1});
  return {image, mirrored, image.transpose(-1, -2), mirrored.transpose(-1, -2)};
}

// Adds both neighbours of `position` among `size` places; beyond the places all is 0.
void add_interpolation(double position, std::int64_t first_column, int size, double weight, SparseRows& rows) {
  if (position <= -1.0 || position >= size) return;
  const int lower = static_cast<int>(position + 1.0) - 1;
  const double upper_weight = position - lower;
  if (lower >= 0) rows.add(first_column + lower, weight * (1.0 - upper_weight));
  if (lower + 1 < size) rows.add(first_column + lower + 1, weight * upper_weight);
}

double base_angle(const ParallelGeometry& geometry, std::int64_t view) {
  return std::numbers::pi * static_cast<double>(view) / geometry.num_views;
}

// Joseph: a ray that runs rather along the rows' normal than along the rows crosses each row of pixels once; there the
// object is interpolated linearly between two pixels. Matrix row = base view * half bins + half bin.
BlockedMatrix ray_matrix(const ParallelGeometry& geometry, int object_size, double pixel_mm, at::ScalarType precision) {
  const double centre = 0.5 * (object_size - 1);
  const std::int64_t half_bins = num_half_bins(geometry);
  const double first_offset_mm = (geometry.num_bins % 2 == 1 ? 0.0 : 0.5) * geometry.bin_mm;
  const auto rows_of = [=](std::int64_t first, std::int64_t last, SparseRows& rows) {
    for (std::int64_t ray = first; ray < last; ++ray) {
      const double angle = base_angle(geometry, ray / half_bins);
      const double offset_mm = first_offset_mm + static_cast<double>(ray % half_bins) * geometry.bin_mm;
      const double slope = std::tan(angle);
      const double intercept = offset_mm / (pixel_mm * std::cos(angle)) + centre;
      const double step_mm = pixel_mm / std::cos(angle);
      for (int row = 0; row < object_size; ++row) {
        const double column = intercept - (row - centre) * slope;
        add_interpolation(column, std::int64_t{row} * object_size, object_size, step_mm, rows);
      }
      rows.end_row();
    }
  };
  const std::int64_t object_pixels = std::int64_t{object_size} * object_size;
  return {num_base_views(geometry) * half_bins, object_pixels, 2 * std::int64_t{object_size}, precision, rows_of};
}

// Back-projection over the base views, with linear interpolation between bins, onto the image's lower half. The first
// and the last base view are each their own mirror image and would count twice.
BlockedMatrix back_projection_matrix(const ParallelGeometry& geometry, at::ScalarType precision) {
  const int size = geometry.image_size;
  const std::int64_t first_row = size - num_half_rows(geometry);
  const std::int64_t base_views = num_base_views(geometry);
  const auto rows_of = [=](std::int64_t first, std::int64_t last, SparseRows& rows) {
    const double centre = 0.5 * (size - 1);
    const double centre_bin = 0.5 * (geometry.num_bins - 1);
    const double bins_per_pixel = geometry.image_pixel_mm / geometry.bin_mm;
    std::vector<double> cosines, sines;
    for (std::int64_t view = 0; view < base_views; ++view) {
      cosines.push_back(std::cos(base_angle(geometry, view)) * bins_per_pixel);
      sines.push_back(std::sin(base_angle(geometry, view)) * bins_per_pixel);
    }
    for (std::int64_t pixel = first; pixel < last; ++pixel) {
      const double x = static_cast<double>(pixel % size) - centre;
      const double y = static_cast<double>(first_row + pixel / size) - centre;
      for (std::int64_t view = 0; view < base_views; ++view) {
        const auto v = static_cast<std::size_t>(view);
        const double weight = (view == 0 || view == base_views - 1 ? 0.5 : 1.0) * std::numbers::pi / geometry.num_views;
        add_interpolation(x * cosines[v] + y * sines[v] + centre_bin, view * geometry.num_bins, geometry.num_bins,
                          weight, rows);
      }
      rows.end_row();
    }
  };
  return {num_half_rows(geometry) * size, base_views * geometry.num_bins, 2 * base_views, precision, rows_of};
}

// The ramp of band-limited data, sampled in space (Kak and Slaney, Principles of Computerized Tomographic Imaging,
// 1988, chapter 3), so that the mean comes out right; its spectrum times a Hann window and, for the sum that stands for
// the integral, the pitch. Zero-padded to twice the bins against wrap-around.
at::Tensor ramp_filter(const ParallelGeometry& geometry, at::ScalarType precision) {
  std::int64_t padded = 1;
  while (padded < 2 * geometry.num_bins) padded *= 2;
  const at::Tensor ramp = at::zeros({padded}, at::kDouble);
  auto values = ramp.accessor<double, 1>();
  values[0] = 0.25 / geometry.bin_mm;
  for (std::int64_t n = 1; n < padded / 2; n += 2) {
    const double distance = std::numbers::pi * static_cast<double>(n);
    values[n] = values[padded - n] = -1.0 / (distance * distance * geometry.bin_mm);
  }
  const at::Tensor spectrum = at::real(at::fft_rfft(ramp)).contiguous();
  auto bands = spectrum.accessor<double, 1>();
  for (std::int64_t k = 0; k <= padded / 2; ++k) {
    bands[k] *= 0.5 * (1.0 + std::cos(2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(padded)));
  }
  return spectrum.to(precision);
}

// [base views, bins, 4] per image -> [views, bins] by angle. The angle of 180 degrees, which closes the last group,
// repeats view 0 and is left out.
at::Tensor ordered_views(const at::Tensor& base) {  // [B, 4, base views, bins]
  const std::int64_t last = base.size(2) - 1;
  const at::Tensor near_90 = base.select(1, 2).flip({1});
  return at::cat({base.select(1, 0), near_90.slice(1, 1), base.select(1, 3).slice(1, 1),
                  base.select(1, 1).flip({1}).slice(1, 1, last)},
                 1);
}

// The inverse of ordered_views.
at::Tensor base_views_of(const at::Tensor& views) {  // [B, views, bins] -> [B, 4, base views, bins]
  const std::int64_t quarter = views.size(1) / 4;
  const at::Tensor closing = views.slice(1, 0, 1).flip({2});  // 180 degrees
  return at::stack({views.slice(1, 0, quarter + 1), at::cat({views.slice(1, 3 * quarter), closing}, 1).flip({1}),
                    views.slice(1, quarter, 2 * quarter + 1).flip({1}), views.slice(1, 2 * quarter, 3 * quarter + 1)},
                   1);
}

void require(bool holds, const char* what, const std::string& value, const char* remedy) {
  if (holds) return;
  throw base::Error(base::ExitCode::options, {.what = what, .value = value, .why = {}, .remedy = remedy});
}

void check_geometry(const ParallelGeometry& geometry, int object_size, double object_pixel_mm) {
  require(geometry.image_size >= 2 && object_size >= 2, "the projector's image or object is too small",
          fmt::format("image {}, object {} pixels", geometry.image_size, object_size), "at least 2 pixels per side");
  require(
      geometry.image_pixel_mm > 0.0 && object_pixel_mm > 0.0 && geometry.bin_mm > 0.0,
      "the projector's pixels and bins need a size",
      fmt::format("image {} mm, object {} mm, bin {} mm", geometry.image_pixel_mm, object_pixel_mm, geometry.bin_mm),
      "sizes above 0 mm");
  require(geometry.num_views >= 4 && geometry.num_views % 4 == 0, "the projector's number of views does not fit",
          fmt::format("{}", geometry.num_views), "a multiple of 4, because views are kept as mirror images");
  require(geometry.num_bins >= 2, "the projector has too few bins", fmt::format("{}", geometry.num_bins), "at least 2");
}

const ParallelGeometry& checked(const ParallelGeometry& geometry, int object_size, double object_pixel_mm) {
  check_geometry(geometry, object_size, object_pixel_mm);
  return geometry;
}

}  // namespace

ParallelGeometry make_parallel_geometry(int image_size, double field_of_view_mm) {
  require(image_size >= 2 && field_of_view_mm > 0.0, "no scan geometry for this image",
          fmt::format("{} pixels over {} mm", image_size, field_of_view_mm), "at least 2 pixels over more than 0 mm");
  ParallelGeometry geometry;
  geometry.image_size = image_size;
  geometry.image_pixel_mm = field_of_view_mm / image_size;
  geometry.num_views = 4 * ((15 * image_size + 31) / 32);
  geometry.bin_mm = 0.75 * geometry.image_pixel_mm;
  geometry.num_bins = static_cast<int>(std::ceil(std::numbers::sqrt2 * field_of_view_mm / geometry.bin_mm));
  return geometry;
}

ParallelProjector::ParallelProjector(const ParallelGeometry& geometry, int object_size, double object_pixel_mm,
                                     at::ScalarType precision)
    : geometry_(checked(geometry, object_size, object_pixel_mm)),
      object_size_(object_size),
      object_pixel_mm_(object_pixel_mm),
      precision_(precision),
      filter_(ramp_filter(geometry, precision)),
      rays_(ray_matrix(geometry, object_size, object_pixel_mm, precision)),
      back_projection_(back_projection_matrix(geometry, precision)) {}

at::Tensor ParallelProjector::project(const at::Tensor& mu_per_mm) const {
  if (mu_per_mm.dim() == 2) return project(mu_per_mm.unsqueeze(0)).squeeze(0);
  TORCH_CHECK(mu_per_mm.dim() == 3 && mu_per_mm.size(1) == object_size_ && mu_per_mm.size(2) == object_size_,
              "project: the object is not on the projector's grid");
  const std::int64_t num_images = mu_per_mm.size(0);
  const std::int64_t bins = geometry_.num_bins;
  std::vector<at::Tensor> copies = mirror_images(mu_per_mm.to(precision_));
  for (std::int64_t i = 0; i < kNumMirrorImages; ++i)
    copies.push_back(copies[static_cast<std::size_t>(i)].flip({-1, -2}));
  const at::Tensor columns = at::stack(copies, -1).permute({1, 2, 0, 3});  // [n, n, B, 8]
  const at::Tensor rays = rays_.times(columns.reshape({-1, num_images * kNumCopies}));
  const at::Tensor halves = rays.view({num_base_views(geometry_), num_half_bins(geometry_), num_images, kNumCopies})
                                .permute({2, 3, 0, 1});  // [B, 8, base views, half bins]
  const at::Tensor right = halves.slice(1, 0, kNumMirrorImages);
  const at::Tensor left = halves.slice(1, kNumMirrorImages).flip({3}).slice(3, 0, bins / 2);
  return ordered_views(at::cat({left, right}, 3));
}

at::Tensor ParallelProjector::reconstruct(const at::Tensor& line_integrals) const {
  if (line_integrals.dim() == 2) return reconstruct(line_integrals.unsqueeze(0)).squeeze(0);
  TORCH_CHECK(line_integrals.dim() == 3 && line_integrals.size(1) == geometry_.num_views &&
                  line_integrals.size(2) == geometry_.num_bins,
              "reconstruct: the line integrals are not the geometry's");
  const std::int64_t num_images = line_integrals.size(0);
  const std::int64_t size = geometry_.image_size;
  const std::int64_t padded = 2 * (filter_.size(0) - 1);
  const at::Tensor spectrum = at::fft_rfft(line_integrals.to(precision_), padded) * filter_;
  const at::Tensor base = base_views_of(at::fft_irfft(spectrum, padded).slice(2, 0, geometry_.num_bins));
  const at::Tensor columns = at::cat({base, base.flip({3})}, 1).permute({2, 3, 0, 1});  // [base views, bins, B, 8]
  const at::Tensor pixels = back_projection_.times(columns.reshape({-1, num_images * kNumCopies}));
  const at::Tensor halves = pixels.view({num_half_rows(geometry_), size, num_images, kNumCopies}).permute({2, 3, 0, 1});
  const at::Tensor lower = halves.slice(1, 0, kNumMirrorImages);
  const at::Tensor upper = halves.slice(1, kNumMirrorImages).flip({2, 3}).slice(2, 0, size / 2);
  const at::Tensor parts = at::cat({upper, lower}, 2);  // [B, 4, size, size], each in its mirror image's frame
  return parts.select(1, 0) + parts.select(1, 1).flip({2}) + parts.select(1, 2).transpose(1, 2) +
         parts.select(1, 3).transpose(1, 2).flip({2});
}

}  // namespace leda::ct
