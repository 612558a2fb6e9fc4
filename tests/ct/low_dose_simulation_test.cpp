#include "ct/low_dose_simulation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/full.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"

namespace leda::ct {
namespace {

constexpr std::int64_t kNumDraws = 60'000;  // standard error of a variance: 0.6 %

double mean_of(const at::Tensor& values) { return values.mean().item<double>(); }
double variance_of(const at::Tensor& values) { return values.var().item<double>(); }
double covariance_of(const at::Tensor& a, const at::Tensor& b) { return mean_of((a - a.mean()) * (b - b.mean())); }
at::Tensor rays(double line_integral, std::int64_t num = kNumDraws) {
  return at::full({num}, line_integral, at::kDouble);
}

double formula(double p, double photons, double electronic_variance) {
  return std::exp(p) / photons + electronic_variance * std::exp(2.0 * p) / (photons * photons);
}

// Pixels within `radius_mm` of the centre.
at::Tensor disc_mask(std::int64_t size, double pixel_mm, double radius_mm) {
  const at::Tensor place = (at::arange(size, at::kDouble) - 0.5 * static_cast<double>(size - 1)) * pixel_mm;
  return (place * place).unsqueeze(0).add((place * place).unsqueeze(1)).lt(radius_mm * radius_mm);
}

struct WaterDisc {
  ParallelProjector projector = ParallelProjector(make_parallel_geometry(128, 360.0), 256, 360.0 / 256, at::kDouble);
  at::Tensor line_integrals = projector.project(disc_mask(256, 360.0 / 256, 100.0).to(at::kDouble) * 0.0192);
  at::Tensor inside = disc_mask(128, 360.0 / 128, 85.0);

  at::Tensor image_hu(const at::Tensor& line_integrals_) const {
    return hu_of_mu(projector.reconstruct(line_integrals_), 0.0192);
  }
  double mean_hu(const at::Tensor& p) const { return mean_of(image_hu(p).masked_select(inside)); }
};

TEST(SimulateCounts, VarianceOfTheLineIntegralIsTheFormula) {
  for (const double electronic_variance : {0.0, 10.0, 60.0}) {
    for (const double p : {0.0, 1.0, 2.5, 4.0, 4.8}) {
      DoseSettings settings;
      settings.electronic_variance = electronic_variance;
      const double full_dose = settings.photons_per_ray_full_dose, low_dose = full_dose * settings.dose_fraction;
      ASSERT_GE(low_dose * std::exp(-p), 100.0);
      const LineIntegralPair pair = simulate_counts(rays(p), settings, 11);
      EXPECT_NEAR(variance_of(pair.full_dose) / formula(p, full_dose, electronic_variance), 1.0, 0.05) << "p " << p;
      EXPECT_NEAR(variance_of(pair.low_dose) / formula(p, low_dose, electronic_variance), 1.0, 0.05) << "p " << p;
    }
  }
}

TEST(SimulateCounts, LogarithmBiasIsItsPrediction) {
  const double p = 4.0;
  const DoseSettings settings;
  const double counts = settings.photons_per_ray_full_dose * settings.dose_fraction * std::exp(-p);
  const double predicted = (counts + settings.electronic_variance) / (2.0 * counts * counts);
  const LineIntegralPair pair = simulate_counts(rays(p, 1'000'000), settings, 12);
  EXPECT_NEAR((mean_of(pair.low_dose) - p) / predicted, 1.0, 0.1);
}

TEST(SimulateCounts, LowDosePhotonsAreAPartOfTheFullDose) {
  DoseSettings settings;
  settings.dose_fraction = 0.3;
  const double p = 3.0, expected = settings.photons_per_ray_full_dose * std::exp(-p);
  const PhotonPair photons = draw_photons(rays(p), settings, 13);
  const at::Tensor others = photons.full_dose - photons.low_dose;
  EXPECT_GE(others.min().item<double>(), 0.0);
  EXPECT_TRUE(photons.low_dose.equal(photons.low_dose.round()));
  // Both are Poisson numbers: mean and variance agree.
  for (const auto& [counts, mean] :
       {std::pair{photons.full_dose, expected}, std::pair{photons.low_dose, 0.3 * expected}}) {
    EXPECT_NEAR(mean_of(counts) / mean, 1.0, 1e-3);
    EXPECT_NEAR(variance_of(counts) / mean, 1.0, 0.03);
  }
  // The covariance of a part and its whole is the part's variance; the rest knows nothing of the part.
  EXPECT_NEAR(covariance_of(photons.full_dose, photons.low_dose) / (0.3 * expected), 1.0, 0.03);
  EXPECT_NEAR(covariance_of(others, photons.low_dose) / (0.3 * expected), 0.0, 0.03);
}

TEST(SimulateCounts, ElectronicNoiseOfTheTwoScansIsIndependent) {
  DoseSettings settings;
  settings.electronic_variance = 2000.0;
  const double p = 3.0, full_dose = settings.photons_per_ray_full_dose;
  const LineIntegralPair pair = simulate_counts(rays(p), settings, 14);
  // Only the shared photons remain: cov = exp(p) / I0. Shared electronics would give (1 + 1 / a) times that or more.
  EXPECT_NEAR(covariance_of(pair.full_dose, pair.low_dose) * full_dose / std::exp(p), 1.0, 0.1);
  EXPECT_GT(2000.0 * std::exp(p) / full_dose, 0.5);
}

TEST(SimulateCounts, NegativeLineIntegralsAreLegalAndTheFloorIsInPhotons) {
  DoseSettings settings;
  EXPECT_NEAR(mean_of(simulate_counts(rays(-0.05), settings, 15).full_dose), -0.05, 1e-3);
  EXPECT_LT(simulate_counts(rays(0.0), settings, 15).full_dose.min().item<double>(), 0.0);
  settings.electronic_variance = 0.0;
  settings.minimum_photons = 0.5;
  const at::Tensor opaque = simulate_counts(rays(60.0, 8), settings, 15).low_dose;
  EXPECT_TRUE(opaque.allclose(rays(std::log(1.25e4 / 0.5), 8), 1e-12));
}

TEST(SimulateCounts, SeedsAndNothingElseDecide) {
  const at::Tensor p = rays(2.0, 500);
  const LineIntegralPair first = simulate_counts(p, {}, 1), again = simulate_counts(p, {}, 1),
                         other = simulate_counts(p, {}, 2);
  EXPECT_TRUE(first.full_dose.equal(again.full_dose) && first.low_dose.equal(again.low_dose));
  EXPECT_FALSE(first.full_dose.eq(other.full_dose).any().item<bool>());
  EXPECT_FALSE(first.low_dose.eq(other.low_dose).any().item<bool>());
  EXPECT_TRUE(inserted_noise(p, {}, 1).equal(inserted_noise(p, {}, 1)));
  EXPECT_FALSE(inserted_noise(p, {}, 1).eq(inserted_noise(p, {}, 2)).any().item<bool>());
}

TEST(InsertedNoise, AddsTheDifferenceOfTheTwoDosesVariances) {
  for (const double dose_fraction : {0.1, 0.25, 0.7}) {
    for (const double p : {-0.02, 1.0, 3.0, 5.0}) {
      DoseSettings settings = noise_insertion_settings();
      settings.dose_fraction = dose_fraction;
      const double full_dose = settings.photons_per_ray_full_dose;
      ASSERT_GE(dose_fraction * full_dose * std::exp(-p), 100.0);
      const at::Tensor noise = inserted_noise(rays(p), settings, 16);
      const double difference = formula(p, dose_fraction * full_dose, settings.electronic_variance) -
                                formula(p, full_dose, settings.electronic_variance);
      EXPECT_NEAR(variance_of(noise) / difference, 1.0, 0.05) << "p " << p << ", fraction " << dose_fraction;
      EXPECT_NEAR(mean_of(noise), 0.0, 5.0 * std::sqrt(difference / kNumDraws));
    }
  }
}

TEST(InsertedNoise, FullDoseAddsNothing) {
  DoseSettings settings = noise_insertion_settings();
  settings.dose_fraction = 1.0;
  EXPECT_EQ(inserted_noise(rays(2.0, 100), settings, 17).abs().max().item<double>(), 0.0);
}

TEST(LowDose, WaterDiscKeepsItsHuAtFullDose) {
  const WaterDisc disc;
  EXPECT_NEAR(disc.mean_hu(disc.line_integrals), 0.0, 1.0);
  EXPECT_NEAR(disc.mean_hu(simulate_counts(disc.line_integrals, {}, 18).full_dose), 0.0, 1.0);
}

TEST(LowDose, LargerBiasIsThePropagatedBiasOfTheLogarithm) {
  const WaterDisc disc;
  DoseSettings settings;
  settings.photons_per_ray_full_dose = 1.0e4;
  const double low_dose = settings.photons_per_ray_full_dose * settings.dose_fraction;
  at::Tensor sum = at::zeros_like(disc.line_integrals);
  constexpr int kNumScans = 24;
  for (int i = 0; i < kNumScans; ++i) {
    sum += simulate_counts(disc.line_integrals, settings, 100 + static_cast<std::uint64_t>(i)).low_dose;
  }
  const double measured = disc.mean_hu(sum / kNumScans) - disc.mean_hu(disc.line_integrals);
  const at::Tensor bias = line_integral_variance(disc.line_integrals, low_dose, settings.electronic_variance) * 0.5;
  const double predicted = disc.mean_hu(disc.line_integrals + bias) - disc.mean_hu(disc.line_integrals);
  EXPECT_GT(predicted, 1.0);
  EXPECT_NEAR(measured / predicted, 1.0, 0.1);
}

// Recipe B against recipe A, two independent ways to a quarter of the dose.
TEST(InsertLowDose, GivesTheImageNoiseOfTheLowDoseScan) {
  const WaterDisc disc;
  const ParallelProjector projector(disc.projector.geometry(), 128, 360.0 / 128, at::kDouble);
  const at::Tensor image_hu = disc.image_hu(disc.line_integrals);
  const DoseSettings settings;
  double full_dose = 0.0, low_dose = 0.0, inserted = 0.0, mean = 0.0;
  constexpr int kNumScans = 10;
  for (std::uint64_t seed = 0; seed < kNumScans; ++seed) {
    const LineIntegralPair pair = simulate_counts(disc.line_integrals, settings, seed);
    const auto added = [&](const at::Tensor& image) { return (image - image_hu).masked_select(disc.inside); };
    full_dose += variance_of(added(disc.image_hu(pair.full_dose)));
    low_dose += variance_of(added(disc.image_hu(pair.low_dose)));
    const at::Tensor noise = added(insert_low_dose(image_hu, projector, settings, seed));
    inserted += variance_of(noise);
    mean += mean_of(noise) / kNumScans;
  }
  EXPECT_NEAR((full_dose + inserted) / low_dose, 1.0, 0.06);
  EXPECT_NEAR(mean, 0.0, 0.5);
}

TEST(InsertLowDose, KeepsWhatLiesOutsideTheScannersField) {
  const ParallelProjector projector = make_image_projector(64, 4.0);
  const at::Tensor field = disc_mask(64, 4.0, 120.0);
  const at::Tensor image_hu = at::where(field, at::zeros({64, 64}), at::full({64, 64}, -2000.0)).to(at::kFloat);
  const at::Tensor low_dose_hu = insert_low_dose(image_hu, projector, noise_insertion_settings(), 19);
  EXPECT_TRUE(low_dose_hu.masked_select(~field).eq(-2000.0).all().item<bool>());
  EXPECT_FALSE(low_dose_hu.masked_select(field).eq(0.0).any().item<bool>());
  EXPECT_TRUE(low_dose_hu.isfinite().all().item<bool>());
}

TEST(PhantomSlice, NoiseOfTheTwoDosesIsNestedAndOfTheDocumentedSize) {
  const PhantomOptions options;
  const ParallelProjector projector = make_phantom_projector(options);
  double normal = 0.0, low = 0.0, shared = 0.0, squared_difference = 0.0;
  constexpr int kNumPhantoms = 16;
  for (int patient = 0; patient < kNumPhantoms; ++patient) {
    const Phantom phantom = make_phantom(options, 5, patient, 0);
    const PhantomSlice slice = simulate_phantom_slice(phantom, projector, {}, static_cast<std::uint64_t>(patient));
    EXPECT_EQ(slice.normal_dose_hu.sizes(), slice.tissue.sizes());
    EXPECT_TRUE(slice.tissue.equal(phantom.tissue));
    const at::Tensor soft = slice.tissue.eq(4);
    const at::Tensor normal_noise = (slice.normal_dose_hu - slice.noise_free_hu).masked_select(soft);
    const at::Tensor low_noise = (slice.low_dose_hu - slice.noise_free_hu).masked_select(soft);
    normal += variance_of(normal_noise) / kNumPhantoms;
    low += variance_of(low_noise) / kNumPhantoms;
    shared += covariance_of(normal_noise, low_noise) / kNumPhantoms;
    squared_difference += mean_of((slice.low_dose_hu - slice.normal_dose_hu).pow(2)) / kNumPhantoms;
  }
  EXPECT_NEAR(std::sqrt(normal), 16.0, 4.0);
  EXPECT_NEAR(std::sqrt(low), 34.0, 8.0);
  EXPECT_NEAR(std::sqrt(squared_difference), 25.0, 4.0);
  // A quarter of the photons: twice the noise and, of it, half correlated; electronics add a little and share nothing.
  EXPECT_NEAR(std::sqrt(low / normal), 2.1, 0.15);
  EXPECT_NEAR(shared / std::sqrt(low * normal), 0.48, 0.06);
}

TEST(PhantomSlice, NoiseFreeImageShowsTheObject) {
  const PhantomOptions options;
  const ParallelProjector projector = make_phantom_projector(options);
  const Phantom phantom = make_phantom(options, 5, 3, 0);
  const PhantomSlice slice = simulate_phantom_slice(phantom, projector, {}, 0);
  const at::Tensor object_hu = phantom.object_hu.reshape({128, 2, 128, 2}).mean(at::IntArrayRef({1, 3}));
  const double object_mean = mean_of(object_hu), image_mean = mean_of(slice.noise_free_hu);
  EXPECT_NEAR(image_mean, object_mean, 2.0);
  const double correlation = covariance_of(object_hu, slice.noise_free_hu) /
                             std::sqrt(variance_of(object_hu) * variance_of(slice.noise_free_hu));
  EXPECT_GT(correlation, 0.98);
}

TEST(DoseSettings, UnphysicalNumbersAreOptionErrors) {
  const auto with = [](double DoseSettings::*member, double value) {
    DoseSettings settings;
    settings.*member = value;
    return settings;
  };
  EXPECT_NO_THROW(check(DoseSettings{}));
  EXPECT_NO_THROW(check(noise_insertion_settings()));
  for (const DoseSettings& settings :
       {with(&DoseSettings::photons_per_ray_full_dose, 0.0), with(&DoseSettings::electronic_variance, -1.0),
        with(&DoseSettings::dose_fraction, 0.0), with(&DoseSettings::dose_fraction, 1.01),
        with(&DoseSettings::water_mu_per_mm, std::nan("")), with(&DoseSettings::minimum_photons, 0.0)}) {
    EXPECT_THROW(check(settings), base::Error);
  }
}

TEST(DoseSettings, AttenuationAndHuInvertAndAirIsTheFloor) {
  const at::Tensor hu = at::arange(-1000, 2000, 50, at::kDouble);
  EXPECT_LT((hu_of_mu(mu_of_hu(hu, 0.0192), 0.0192) - hu).abs().max().item<double>(), 1e-9);
  EXPECT_EQ(mu_of_hu(at::full({3}, -2000.0), 0.0192).abs().max().item<double>(), 0.0);
}

}  // namespace
}  // namespace leda::ct
