#include "ct/phantom.hpp"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <array>

#include "base/error.hpp"
#include "ct/phantom_canvas.hpp"
#include "ct/tissue.hpp"
#include "ct/torso_anatomy.hpp"

namespace leda::ct {
namespace {

constexpr std::uint64_t kSeed = 20260310;

double mean_difference_hu(const Phantom& a, const Phantom& b) {
  return (a.object_hu - b.object_hu).abs().mean().item<double>();
}

TEST(Phantom, IsAPureFunctionOfItsArguments) {
  const Phantom first = make_phantom({}, kSeed, 3, 5);
  make_phantom({}, kSeed, 9, 1);
  const Phantom again = make_phantom({}, kSeed, 3, 5);
  EXPECT_TRUE(first.object_hu.equal(again.object_hu));
  EXPECT_TRUE(first.tissue.equal(again.tissue));
}

TEST(Phantom, PatientsAndSeedsDifferMoreThanNeighbouringSlices) {
  double patients = 0.0, seeds = 0.0, neighbours = 0.0;
  constexpr int kNumPatients = 12;
  for (int patient = 0; patient < kNumPatients; ++patient) {
    const Phantom phantom = make_phantom({}, kSeed, patient, 10);
    patients += mean_difference_hu(phantom, make_phantom({}, kSeed, patient + 1, 10));
    seeds += mean_difference_hu(phantom, make_phantom({}, kSeed + 1, patient, 10));
    const double to_next = mean_difference_hu(phantom, make_phantom({}, kSeed, patient, 11));
    EXPECT_GT(to_next, 0.0);
    neighbours += to_next;
  }
  EXPECT_LT(5.0 * neighbours, patients);
  EXPECT_LT(5.0 * neighbours, seeds);
}

TEST(Phantom, EveryTissueIsPresentInMostPhantoms) {
  constexpr int kNumPhantoms = 40;
  std::array<int, kNumTissues> present{};
  for (int patient = 0; patient < kNumPhantoms; ++patient) {
    const Phantom phantom = make_phantom({}, kSeed, patient, patient % 7);
    for (std::size_t i = 0; i < present.size(); ++i) {
      present[i] += phantom.tissue.eq(static_cast<std::int64_t>(i)).sum().item<std::int64_t>() >= 10 ? 1 : 0;
    }
  }
  for (const Tissue tissue : {Tissue::air, Tissue::lung, Tissue::fat, Tissue::soft, Tissue::blood, Tissue::bone}) {
    EXPECT_GE(present[static_cast<std::size_t>(tissue)], kNumPhantoms * 3 / 4) << static_cast<int>(tissue);
  }
  EXPECT_EQ(present[static_cast<std::size_t>(Tissue::metal)], 0);
}

// What is painted last at the pixel's centre decides; found here structure by structure, without the canvas' loops
// over many structures.
TEST(Phantom, LabelsAreTheTissueOfTheTopmostStructure) {
  const TorsoSlice torso = make_torso_slice(kSeed, 4, 2);
  at::Tensor expected_hu = PhantomCanvas(128, kTorsoFieldMm / 128, torso.pose, Edges::hard).hu();
  for (const Structure& structure : torso.structures) {
    PhantomCanvas single(128, kTorsoFieldMm / 128, torso.pose, Edges::hard);
    single.paint(structure.ellipse, {5000.0, 0.0});
    expected_hu = expected_hu.masked_fill(single.hu().gt(0.0), structure.material.hu);
  }
  EXPECT_TRUE(make_phantom({}, kSeed, 4, 2).tissue.equal(tissue_of_hu(expected_hu)));
}

TEST(Phantom, ObjectAgreesWithItsLabelsAwayFromEdges) {
  const Phantom phantom = make_phantom({.size = 256}, kSeed, 1, 4);
  const at::Tensor object = phantom.object_hu.reshape({256, 2, 256, 2}).mean(at::IntArrayRef({1, 3}));
  // Texture and blended edges move a few pixels over a limit, not many.
  const double share = tissue_of_hu(object).eq(phantom.tissue).to(at::kDouble).mean().item<double>();
  EXPECT_GT(share, 0.9);
  EXPECT_GE(phantom.object_hu.min().item<double>(), -1000.5);
  EXPECT_LT(phantom.object_hu.max().item<double>(), 2000.0);
}

TEST(Phantom, BodyLiesInsideTheField) {
  for (int patient = 0; patient < 60; ++patient) {
    const at::Tensor body = make_phantom({.size = 64}, kSeed, patient, 3 * patient).object_hu.gt(-990.0);
    const std::int64_t border =
        body.slice(0, 0, 1).sum().item<std::int64_t>() + body.slice(0, -1).sum().item<std::int64_t>() +
        body.slice(1, 0, 1).sum().item<std::int64_t>() + body.slice(1, -1).sum().item<std::int64_t>();
    EXPECT_EQ(border, 0) << "patient " << patient;
  }
}

TEST(Phantom, EverySizeShowsTheSameAnatomy) {
  const at::Tensor reference = make_phantom({.size = 64}, kSeed, 2, 0).object_hu;
  for (const int size : {80, 128, 256, 512}) {
    const Phantom phantom = make_phantom({.size = size, .field_of_view_mm = 400.0}, kSeed, 2, 0);
    EXPECT_EQ(phantom.object_hu.sizes(), (at::IntArrayRef{2 * size, 2 * size}));
    EXPECT_EQ(phantom.tissue.sizes(), (at::IntArrayRef{size, size}));
    EXPECT_DOUBLE_EQ(phantom.image_pixel_mm, 400.0 / size);
    EXPECT_DOUBLE_EQ(phantom.object_pixel_mm, 200.0 / size);
    EXPECT_NEAR(phantom.object_hu.mean().item<double>(), reference.mean().item<double>(), 3.0);
  }
}

TEST(Phantom, SizesOutOfRangeAreOptionErrors) {
  for (const PhantomOptions& options :
       {PhantomOptions{48, 360.0}, PhantomOptions{120, 360.0}, PhantomOptions{528, 360.0}, PhantomOptions{128, 0.0}}) {
    EXPECT_THROW(make_phantom(options, kSeed, 0, 0), base::Error);
  }
}

}  // namespace
}  // namespace leda::ct
