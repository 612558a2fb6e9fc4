#include "data/making/phantom_dataset.hpp"

#include <ATen/core/Tensor.h>
#include <fmt/format.h>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "ct/low_dose_simulation.hpp"
#include "ct/phantom.hpp"
#include "data/shards/hu_quantisation.hpp"
#include "data/shards/shard_set_writer.hpp"

namespace leda::data {
namespace {

constexpr double kSliceSpacingMm = 5.0;

void check(const PhantomDatasetOptions& options) {
  const auto refuse = [](const std::string& what, std::int64_t value) {
    throw base::ErrorOnAllRanks(base::ExitCode::options, {.what = "phantom data set: " + what + " is out of range",
                                                          .value = fmt::to_string(value),
                                                          .why = "",
                                                          .remedy = "choose 1 or more (the first patient: 0 or more)"});
  };
  if (options.num_patients < 1) refuse("the number of patients", options.num_patients);
  if (options.first_patient < 0) refuse("the first patient", options.first_patient);
  if (options.slices_per_patient < 1) refuse("the number of slices per patient", options.slices_per_patient);
  if (options.slices_per_shard < 1) refuse("the number of slices per shard", options.slices_per_shard);
}

ct::DoseSettings dose_settings(const PhantomDatasetOptions& options) {
  ct::DoseSettings dose;
  dose.dose_fraction = options.dose_fraction;
  dose.photons_per_ray_full_dose = options.photons_per_ray_full_dose;
  dose.electronic_variance = options.electronic_variance;
  ct::check(dose);
  return dose;
}

}  // namespace

bool write_phantom_dataset(const PhantomDatasetOptions& options, distributed::Communicator& communicator,
                           logging::Console& console, const std::function<bool()>& should_stop) {
  check(options);
  const ct::PhantomOptions phantom_options{.size = options.size, .field_of_view_mm = options.field_of_view_mm};
  const ct::DoseSettings dose = dose_settings(options);
  const ct::ParallelProjector projector = ct::make_phantom_projector(phantom_options);

  ShardSet set;
  set.folder = options.folder;
  set.parameters = {{"command", "phantom"},
                    {"patients", fmt::to_string(options.num_patients)},
                    {"first_patient", fmt::to_string(options.first_patient)},
                    {"slices_per_patient", fmt::to_string(options.slices_per_patient)},
                    {"slices_per_shard", fmt::to_string(options.slices_per_shard)},
                    {"size", fmt::to_string(options.size)},
                    {"field_of_view_mm", fmt::to_string(options.field_of_view_mm)},
                    {"dose_fraction", fmt::to_string(options.dose_fraction)},
                    {"photons_per_ray_full_dose", fmt::to_string(options.photons_per_ray_full_dose)},
                    {"electronic_variance", fmt::to_string(options.electronic_variance)},
                    {"seed", fmt::to_string(options.seed)}};
  set.shape = {options.size, options.size, true, true, true};
  set.num_slices = options.num_patients * options.slices_per_patient;
  set.slices_per_shard = options.slices_per_shard;
  set.slice_at = [&](std::int64_t index) {
    const std::int64_t patient = options.first_patient + index / options.slices_per_patient;
    const std::int64_t slice = index % options.slices_per_patient;
    const ct::Phantom phantom = ct::make_phantom(phantom_options, options.seed, patient, slice);
    const std::uint64_t noise_seed =
        base::mix_key({base::key_of("phantom noise"), options.seed, static_cast<std::uint64_t>(patient),
                       static_cast<std::uint64_t>(slice)});
    const ct::PhantomSlice images = ct::simulate_phantom_slice(phantom, projector, dose, noise_seed);
    Slice result;
    result.record = {.patient = fmt::format("phantom_{:05}", patient),
                     .series = "simulated",
                     .spacing_mm = {phantom.image_pixel_mm, phantom.image_pixel_mm, kSliceSpacingMm},
                     .position_mm = kSliceSpacingMm * static_cast<double>(slice),
                     .dose_fraction = options.dose_fraction};
    result.normal_dose_hu = quantise_hu(images.normal_dose_hu);
    result.low_dose_hu = quantise_hu(images.low_dose_hu);
    result.tissue = images.tissue;
    result.noise_free_hu = quantise_hu(images.noise_free_hu);
    return result;
  };
  set.should_stop = should_stop;
  return !write_shard_set(set, communicator, console).empty();
}

}  // namespace leda::data
