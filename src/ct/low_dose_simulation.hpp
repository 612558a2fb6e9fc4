// Dose physics: what fewer photons do to line integrals and to images. Everything is a pure function of its arguments
// and the seed, on the CPU, for any thread. Equations, sources and measured numbers:
// docs/methods/low_dose_simulation.md.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "ct/phantom.hpp"
#include "ct/projection.hpp"

namespace leda::ct {

struct DoseSettings {
  double photons_per_ray_full_dose = 5.0e4;  // I0, before the patient
  double electronic_variance = 10.0;         // photons^2, per ray and scan
  double dose_fraction = 0.25;               // of the full dose, 0 < fraction <= 1
  double water_mu_per_mm = 0.0192;
  double minimum_photons = 1.0;  // floor of a reading before the logarithm; line integrals are never clipped

  bool operator==(const DoseSettings&) const = default;
};

// Settings for noise insertion into real slices: I0 1.5e5, electronic variance 5.8 photons^2, a quarter of the dose.
DoseSettings noise_insertion_settings();
// Throws Error(options) that names the setting.
void check(const DoseSettings& settings);

// HU -> attenuation per mm, at least 0 (air and what scanners write outside their field); and back, unclipped.
at::Tensor mu_of_hu(const at::Tensor& image_hu, double water_mu_per_mm);
at::Tensor hu_of_mu(const at::Tensor& mu_per_mm, double water_mu_per_mm);

// The photons of two scans of the same rays. Nested: each low-dose photon is one of the full-dose ones, as if the tube
// had been switched off early; low_dose <= full_dose everywhere.
struct PhotonPair {
  at::Tensor full_dose;
  at::Tensor low_dose;
};
PhotonPair draw_photons(const at::Tensor& line_integrals, const DoseSettings& settings, std::uint64_t seed);

struct LineIntegralPair {
  at::Tensor full_dose;
  at::Tensor low_dose;
};
// Recipe A, from noise-free line integrals (any shape): photons, electronic noise of each scan's own, logarithm
// (Zeng et al., IEEE Trans. Nucl. Sci. 62, 2015).
LineIntegralPair simulate_counts(const at::Tensor& line_integrals, const DoseSettings& settings, std::uint64_t seed);

// Recipe B, for line integrals that have their scan's noise already: what must be added to them so that their variance
// is that of dose_fraction times the dose (Yu et al., J. Comput. Assist. Tomogr. 36, 2012). Mean 0.
at::Tensor inserted_noise(const at::Tensor& line_integrals, const DoseSettings& settings, std::uint64_t seed);

// Variance of a line integral at a dose of `photons_per_ray`: exp(p)/I + N_e exp(2p)/I^2.
at::Tensor line_integral_variance(const at::Tensor& line_integrals, double photons_per_ray, double electronic_variance);

// One phantom as the scanner shows it. Images in HU, float, not rounded, [size, size].
struct PhantomSlice {
  at::Tensor normal_dose_hu;
  at::Tensor low_dose_hu;
  at::Tensor noise_free_hu;
  at::Tensor tissue;  // uint8 [size, size], the phantom's
};
// The projector's object grid must be the phantom's (make_phantom_projector).
PhantomSlice simulate_phantom_slice(const Phantom& phantom, const ParallelProjector& projector,
                                    const DoseSettings& settings, std::uint64_t seed);
ParallelProjector make_phantom_projector(const PhantomOptions& options);  // float32

// A real slice (square, HU) at a lower dose: the slice plus the reconstruction of inserted_noise of its projections, so
// that its sharpness stays. Pixels under -1024 HU (outside the scanner's field) keep their value.
at::Tensor insert_low_dose(const at::Tensor& normal_dose_hu, const ParallelProjector& projector,
                           const DoseSettings& settings, std::uint64_t seed);
ParallelProjector make_image_projector(int image_size, double image_pixel_mm);  // float32

}  // namespace leda::ct
