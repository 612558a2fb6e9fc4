#include "ct/low_dose_simulation.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log.h>
#include <ATen/ops/poisson.h>
#include <ATen/ops/sqrt.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <cmath>
#include <string_view>

#include "base/error.hpp"
#include "base/keyed_random.hpp"

namespace leda::ct {
namespace {

// What scanners write for -1024 HU and less is "not reconstructed", no measurement.
constexpr double kOutsideFieldBelowHu = -1024.0;

at::Generator generator_for(std::string_view purpose, std::uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(base::mix_key({seed, base::key_of(purpose)}));
}

at::Tensor standard_normal_like(const at::Tensor& shape_of, std::string_view purpose, std::uint64_t seed) {
  return at::empty_like(shape_of, at::MemoryFormat::Contiguous).normal_(0.0, 1.0, generator_for(purpose, seed));
}

// Photons of one scan -> line integrals. The floor keeps the logarithm finite; nothing is done to the result, which
// may be negative: clipping it would make air brighter than it is.
at::Tensor logarithm(const at::Tensor& photons, double photons_per_ray, const DoseSettings& settings,
                     std::string_view purpose, std::uint64_t seed) {
  const at::Tensor electronic = standard_normal_like(photons, purpose, seed) * std::sqrt(settings.electronic_variance);
  return std::log(photons_per_ray) - at::log((photons + electronic).clamp_min(settings.minimum_photons));
}

void require(bool holds, const char* what, double value, const char* remedy) {
  if (holds) return;
  throw base::Error(base::ExitCode::options,
                    {.what = what, .value = fmt::format("{}", value), .why = {}, .remedy = remedy});
}

}  // namespace

DoseSettings noise_insertion_settings() {
  DoseSettings settings;
  settings.photons_per_ray_full_dose = 1.5e5;
  settings.electronic_variance = 5.8;
  return settings;
}

void check(const DoseSettings& settings) {
  const auto is_positive = [](double value) { return std::isfinite(value) && value > 0.0; };
  require(is_positive(settings.photons_per_ray_full_dose), "photons per ray are out of range",
          settings.photons_per_ray_full_dose, "a number above 0, 1e4 to 1e6 say");
  require(std::isfinite(settings.electronic_variance) && settings.electronic_variance >= 0.0,
          "the electronic variance is out of range", settings.electronic_variance, "0 or more photons^2, 10 say");
  require(is_positive(settings.dose_fraction) && settings.dose_fraction <= 1.0, "the dose fraction is out of range",
          settings.dose_fraction, "a number above 0 and at most 1");
  require(is_positive(settings.water_mu_per_mm), "the attenuation of water is out of range", settings.water_mu_per_mm,
          "about 0.02 per mm");
  require(is_positive(settings.minimum_photons), "the floor of a reading is out of range", settings.minimum_photons,
          "a number of photons above 0, 1 say");
}

at::Tensor mu_of_hu(const at::Tensor& image_hu, double water_mu_per_mm) {
  return ((image_hu * 1.0e-3 + 1.0) * water_mu_per_mm).clamp_min(0.0);
}

at::Tensor hu_of_mu(const at::Tensor& mu_per_mm, double water_mu_per_mm) {
  return (mu_per_mm / water_mu_per_mm - 1.0) * 1.0e3;
}

PhotonPair draw_photons(const at::Tensor& line_integrals, const DoseSettings& settings, std::uint64_t seed) {
  const at::Tensor expected = at::exp(-line_integrals) * settings.photons_per_ray_full_dose;
  // The parts of a Poisson number that a coin splits are independent Poisson numbers.
  const at::Tensor low_dose = at::poisson(expected * settings.dose_fraction, generator_for("low-dose photons", seed));
  const at::Tensor remaining =
      at::poisson(expected * (1.0 - settings.dose_fraction), generator_for("remaining photons", seed));
  return {.full_dose = low_dose + remaining, .low_dose = low_dose};
}

LineIntegralPair simulate_counts(const at::Tensor& line_integrals, const DoseSettings& settings, std::uint64_t seed) {
  check(settings);
  const PhotonPair photons = draw_photons(line_integrals, settings, seed);
  const double full_dose = settings.photons_per_ray_full_dose;
  return {.full_dose = logarithm(photons.full_dose, full_dose, settings, "full-dose electronics", seed),
          .low_dose =
              logarithm(photons.low_dose, full_dose * settings.dose_fraction, settings, "low-dose electronics", seed)};
}

at::Tensor line_integral_variance(const at::Tensor& line_integrals, double photons_per_ray,
                                  double electronic_variance) {
  const at::Tensor per_photon = at::exp(line_integrals) / photons_per_ray;
  return per_photon * (per_photon * electronic_variance + 1.0);
}

at::Tensor inserted_noise(const at::Tensor& line_integrals, const DoseSettings& settings, std::uint64_t seed) {
  check(settings);
  const double a = settings.dose_fraction;
  const double full_dose = settings.photons_per_ray_full_dose;
  // q = exp(p) / I0; a ray that lets no photon through adds what a reading at the floor would.
  const at::Tensor q = (at::exp(line_integrals) / full_dose).clamp_max(1.0 / settings.minimum_photons);
  const at::Tensor added_variance = q * ((1.0 - a) / a) * (q * ((1.0 + a) / a * settings.electronic_variance) + 1.0);
  return at::sqrt(added_variance) * standard_normal_like(line_integrals, "inserted noise", seed);
}

ParallelProjector make_phantom_projector(const PhantomOptions& options) {
  const ParallelGeometry geometry = make_parallel_geometry(options.size, options.field_of_view_mm);
  return ParallelProjector(geometry, kObjectPixelsPerImagePixel * options.size,
                           geometry.image_pixel_mm / kObjectPixelsPerImagePixel, at::kFloat);
}

PhantomSlice simulate_phantom_slice(const Phantom& phantom, const ParallelProjector& projector,
                                    const DoseSettings& settings, std::uint64_t seed) {
  const double mu_water = settings.water_mu_per_mm;
  const at::Tensor noise_free = projector.project(mu_of_hu(phantom.object_hu, mu_water));
  const LineIntegralPair measured = simulate_counts(noise_free, settings, seed);
  const at::Tensor images_hu =
      hu_of_mu(projector.reconstruct(at::stack({measured.full_dose, measured.low_dose, noise_free})), mu_water);
  return {.normal_dose_hu = images_hu.select(0, 0),
          .low_dose_hu = images_hu.select(0, 1),
          .noise_free_hu = images_hu.select(0, 2),
          .tissue = phantom.tissue};
}

ParallelProjector make_image_projector(int image_size, double image_pixel_mm) {
  const ParallelGeometry geometry = make_parallel_geometry(image_size, image_size * image_pixel_mm);
  return ParallelProjector(geometry, image_size, image_pixel_mm, at::kFloat);
}

at::Tensor insert_low_dose(const at::Tensor& normal_dose_hu, const ParallelProjector& projector,
                           const DoseSettings& settings, std::uint64_t seed) {
  TORCH_CHECK(projector.object_size() == projector.geometry().image_size,
              "insert_low_dose: the projector's object must be the image");
  const at::Tensor image_hu = normal_dose_hu.to(projector.precision());
  const at::Tensor line_integrals = projector.project(mu_of_hu(image_hu, settings.water_mu_per_mm));
  const at::Tensor added_mu = projector.reconstruct(inserted_noise(line_integrals, settings, seed));
  const at::Tensor low_dose_hu = image_hu + added_mu * (1.0e3 / settings.water_mu_per_mm);
  return at::where(image_hu < kOutsideFieldBelowHu, image_hu, low_dose_hu);
}

}  // namespace leda::ct
