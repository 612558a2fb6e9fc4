#include "ct/projection.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cos.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "base/error.hpp"

namespace leda::ct {
namespace {

constexpr double kWater = 0.0192;  // per mm

struct Disc {
  double radius_mm, x_mm, y_mm;
};

at::Tensor centred(std::int64_t size) { return at::arange(size, at::kDouble) - 0.5 * static_cast<double>(size - 1); }

// [views, bins]: chords of the disc times its attenuation.
at::Tensor exact_line_integrals(const ParallelGeometry& geometry, const Disc& disc) {
  const at::Tensor angle = at::arange(geometry.num_views, at::kDouble) * (std::numbers::pi / geometry.num_views);
  const at::Tensor shadow_mm = at::cos(angle) * disc.x_mm + at::sin(angle) * disc.y_mm;
  const at::Tensor distance_mm = (centred(geometry.num_bins) * geometry.bin_mm).unsqueeze(0) - shadow_mm.unsqueeze(1);
  return (disc.radius_mm * disc.radius_mm - distance_mm * distance_mm).clamp_min(0.0).sqrt() * (2.0 * kWater);
}

// Squared distance of each pixel's centre from the disc's.
at::Tensor squared_distance(std::int64_t size, double pixel_mm, const Disc& disc) {
  const at::Tensor place_mm = centred(size) * pixel_mm;
  const at::Tensor dx = (place_mm - disc.x_mm).unsqueeze(0), dy = (place_mm - disc.y_mm).unsqueeze(1);
  return dx * dx + dy * dy;
}

// Coverage by 8 x 8 samples in each pixel.
at::Tensor disc_object(std::int64_t size, double pixel_mm, const Disc& disc) {
  constexpr std::int64_t kFiner = 8;
  const at::Tensor inside =
      squared_distance(size * kFiner, pixel_mm / kFiner, disc).lt(disc.radius_mm * disc.radius_mm).to(at::kDouble);
  return inside.reshape({size, kFiner, size, kFiner}).mean(at::IntArrayRef({1, 3})) * kWater;
}

ParallelProjector projector_128() {
  return ParallelProjector(make_parallel_geometry(128, 360.0), 256, 360.0 / 256, at::kDouble);
}

TEST(ParallelGeometry, DefaultsFollowSizeAndField) {
  const ParallelGeometry small = make_parallel_geometry(128, 360.0);
  EXPECT_EQ(small.num_views, 240);
  EXPECT_DOUBLE_EQ(small.bin_mm, 0.75 * 360.0 / 128);
  EXPECT_GE(small.num_bins * small.bin_mm, 360.0 * std::numbers::sqrt2);
  for (const int size : {64, 80, 112, 255, 512}) EXPECT_EQ(make_parallel_geometry(size, 250.0).num_views % 4, 0);
}

TEST(ParallelProjector, DiscsProjectToTheirChords) {
  const ParallelProjector projector = projector_128();
  for (const Disc& disc :
       {Disc{100.0, 0.0, 0.0}, Disc{60.0, 40.0, -25.0}, Disc{25.0, -90.0, 60.0}, Disc{40.0, 0.0, 110.0}}) {
    const at::Tensor exact = exact_line_integrals(projector.geometry(), disc);
    const at::Tensor error = projector.project(disc_object(256, 360.0 / 256, disc)) - exact;
    // At the rim the chord rises like a square root, faster than pixels can tell: there the error may reach the chord
    // that lies 0.15 object pixels inside the rim. Over all rays, and well inside, it is half a percent.
    const double largest = 2.0 * kWater * disc.radius_mm;
    const double at_rim = 2.0 * kWater * std::sqrt(2.0 * disc.radius_mm * 0.15 * 360.0 / 256);
    EXPECT_LT(error.abs().max().item<double>(), at_rim);
    const at::Tensor inside = exact.gt(0.6 * largest);
    EXPECT_LT(error.masked_select(inside).abs().max().item<double>(), 0.005 * largest + 0.004);
    EXPECT_LT(error.pow(2).mean().sqrt().item<double>(), 0.005 * largest);
    // The sum over a view is the disc's area times its attenuation, whatever the view.
    const at::Tensor areas =
        projector.project(disc_object(256, 360.0 / 256, disc)).sum(1) * projector.geometry().bin_mm;
    const double area = std::numbers::pi * disc.radius_mm * disc.radius_mm * kWater;
    EXPECT_LT((areas / area - 1.0).abs().max().item<double>(), 0.005);
  }
}

TEST(ParallelProjector, ReconstructsAnExactDisc) {
  const ParallelProjector projector = projector_128();
  const Disc disc{100.0, 30.0, -20.0};
  const at::Tensor image = projector.reconstruct(exact_line_integrals(projector.geometry(), disc)) / kWater;
  const at::Tensor squared = squared_distance(128, projector.geometry().image_pixel_mm, disc);
  const at::Tensor inside = image.masked_select(squared.lt(88.0 * 88.0));
  EXPECT_NEAR(inside.mean().item<double>(), 1.0, 1e-3);  // 1 HU
  EXPECT_LT(inside.std().item<double>(), 2e-3);
  const at::Tensor outside = image.masked_select(squared.gt(112.0 * 112.0).logical_and(squared.lt(150.0 * 150.0)));
  EXPECT_NEAR(outside.mean().item<double>(), 0.0, 1e-3);
  EXPECT_LT(outside.std().item<double>(), 1e-2);  // streaks of 240 views of a sharp edge
}

TEST(ParallelProjector, WaterDiscOf200MmHasItsHuWithoutNoise) {
  const ParallelProjector projector = projector_128();
  for (const Disc& disc : {Disc{100.0, 0.0, 0.0}, Disc{100.0, 35.0, -20.0}}) {
    const at::Tensor image = projector.reconstruct(projector.project(disc_object(256, 360.0 / 256, disc)));
    const at::Tensor inside = squared_distance(128, projector.geometry().image_pixel_mm, disc).lt(88.0 * 88.0);
    const double mean_hu = 1000.0 * (image.masked_select(inside).mean().item<double>() / kWater - 1.0);
    EXPECT_NEAR(mean_hu, 0.0, 1.0);
  }
}

TEST(ParallelProjector, ASinglePixelCastsItsShadowInEveryView) {
  const ParallelGeometry geometry = make_parallel_geometry(64, 64.0);
  const ParallelProjector projector(geometry, 64, 1.0, at::kDouble);
  at::Tensor object = at::zeros({64, 64}, at::kDouble);
  object[12][50] = 1.0;  // x = 18.5, y = -19.5
  const at::Tensor shadow = projector.project(object);
  const at::Tensor offset = centred(geometry.num_bins) * geometry.bin_mm;
  const at::Tensor angle = at::arange(geometry.num_views, at::kDouble) * (std::numbers::pi / geometry.num_views);
  const at::Tensor weight = shadow.sum(1);
  // Linear interpolation is symmetric, so the centre of mass lies at the pixel's own offset.
  const at::Tensor centre = (shadow * offset).sum(1) / weight;
  const at::Tensor expected = at::cos(angle) * 18.5 - at::sin(angle) * 19.5;
  EXPECT_LT((centre - expected).abs().max().item<double>(), 0.25 * geometry.bin_mm);
  EXPECT_NEAR((weight * geometry.bin_mm).mean().item<double>(), 1.0, 0.01);
}

TEST(ParallelProjector, IsLinear) {
  const ParallelProjector projector(make_parallel_geometry(64, 200.0), 128, 200.0 / 128, at::kDouble);
  const at::Tensor a = at::rand({128, 128}, at::kDouble), b = at::rand({128, 128}, at::kDouble);
  const at::Tensor together = projector.project(a * 2.0 - b * 3.0);
  const at::Tensor apart = projector.project(a) * 2.0 - projector.project(b) * 3.0;
  EXPECT_LT((together - apart).abs().max().item<double>(), 1e-10);
  const at::Tensor image = projector.reconstruct(together) - projector.reconstruct(apart);
  EXPECT_LT(image.abs().max().item<double>(), 1e-10);
  EXPECT_EQ(projector.reconstruct(together * 0.0).abs().max().item<double>(), 0.0);
}

TEST(ParallelProjector, BatchesAreTheirImagesOneByOne) {
  const ParallelProjector projector(make_parallel_geometry(64, 200.0), 128, 200.0 / 128, at::kDouble);
  const at::Tensor objects = at::rand({3, 128, 128}, at::kDouble);
  const at::Tensor line_integrals = projector.project(objects);
  const at::Tensor images = projector.reconstruct(line_integrals);
  for (int i = 0; i < 3; ++i) {
    EXPECT_LT((projector.project(objects[i]) - line_integrals[i]).abs().max().item<double>(), 1e-10);
    EXPECT_LT((projector.reconstruct(line_integrals[i]) - images[i]).abs().max().item<double>(), 1e-10);
  }
}

TEST(ParallelProjector, TurningTheObjectMovesTheViews) {
  const ParallelGeometry geometry = make_parallel_geometry(64, 200.0);
  const ParallelProjector projector(geometry, 128, 200.0 / 128, at::kDouble);
  const at::Tensor object = at::rand({128, 128}, at::kDouble);
  const at::Tensor views = projector.project(object);
  const int half = geometry.num_views / 2;
  // A quarter turn from x towards y: the view at 90 degrees sees what the view at 0 saw.
  const at::Tensor turned = projector.project(object.transpose(0, 1).flip({1}));
  EXPECT_LT((turned.slice(0, half) - views.slice(0, 0, half)).abs().max().item<double>(), 1e-10);
}

// Odd sizes and odd numbers of bins take the other side of every halving.
TEST(ParallelProjector, OddSizesReconstructToo) {
  ParallelGeometry geometry = make_parallel_geometry(63, 240.0);
  geometry.num_bins |= 1;
  const ParallelProjector projector(geometry, 125, 240.0 / 125, at::kDouble);
  const Disc disc{70.0, 12.0, -9.0};
  const at::Tensor image = projector.reconstruct(projector.project(disc_object(125, 240.0 / 125, disc))) / kWater;
  const at::Tensor inside = squared_distance(63, geometry.image_pixel_mm, disc).lt(54.0 * 54.0);
  EXPECT_NEAR(image.masked_select(inside).mean().item<double>(), 1.0, 1e-3);
}

// 512 x 512 objects for 256 x 256 images keep their matrices, larger ones build them in each call: same numbers.
TEST(ParallelProjector, FloatAgreesWithDoubleAndLargeImagesWork) {
  const Disc disc{100.0, 20.0, 10.0};
  for (const int size : {64, 256, 512}) {
    const ParallelGeometry geometry = make_parallel_geometry(size, 360.0);
    const ParallelProjector projector(geometry, size, 360.0 / size, at::kFloat);
    const at::Tensor line_integrals = projector.project(disc_object(size, 360.0 / size, disc));
    EXPECT_EQ(line_integrals.scalar_type(), at::kFloat);
    EXPECT_LT((line_integrals - exact_line_integrals(geometry, disc)).pow(2).mean().sqrt().item<double>(), 0.04);
    const at::Tensor image = projector.reconstruct(line_integrals).to(at::kDouble) / kWater;
    const at::Tensor inside = squared_distance(size, 360.0 / size, disc).lt(80.0 * 80.0);
    EXPECT_NEAR(image.masked_select(inside).mean().item<double>(), 1.0, 1e-3);
  }
}

TEST(ParallelProjector, ImpossibleGeometriesAreOptionErrors) {
  EXPECT_THROW(make_parallel_geometry(128, 0.0), base::Error);
  ParallelGeometry geometry = make_parallel_geometry(64, 200.0);
  geometry.num_views = 90;
  EXPECT_THROW(ParallelProjector(geometry, 64, 1.0, at::kFloat), base::Error);
  EXPECT_THROW(ParallelProjector(make_parallel_geometry(64, 200.0), 64, 0.0, at::kFloat), base::Error);
}

}  // namespace
}  // namespace leda::ct
