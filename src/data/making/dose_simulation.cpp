#include "data/making/dose_simulation.hpp"

#include <fmt/format.h>

#include <bit>
#include <filesystem>
#include <map>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "data/shards/hu_quantisation.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "data/shards/shard_set_writer.hpp"

namespace leda::data {
namespace {

constexpr std::int64_t kSlicesPerShard = 32;

[[noreturn]] void refuse_simulation(const std::string& what, const std::string& value, const std::string& remedy) {
  throw base::ErrorOnAllRanks(base::ExitCode::data,
                              {.what = "simulate: " + what, .value = value, .why = "", .remedy = remedy});
}

void check_folders(const DoseSimulationOptions& options) {
  std::error_code ignored;
  if (std::filesystem::equivalent(options.input, options.output, ignored)) {
    refuse_simulation("input and output are the same folder", options.output, "name a new folder for the output");
  }
}

void check_square(const ShardCatalogue& catalogue) {
  if (catalogue.rows() != catalogue.columns()) {
    refuse_simulation("slices must be square", fmt::format("{} x {}", catalogue.rows(), catalogue.columns()),
                      "pad or crop the slices before importing them");
  }
  for (std::int64_t id = 0; id < catalogue.num_slices(); ++id) {
    const std::array<double, 3>& spacing = catalogue.record(id).spacing_mm;
    if (spacing[0] != spacing[1]) {
      refuse_simulation(fmt::format("pixels of slice {} must be square", id),
                        fmt::format("{} x {} mm", spacing[0], spacing[1]), "resample the slices before importing them");
    }
  }
}

std::uint64_t noise_seed(std::uint64_t seed, const SliceRecord& record) {
  return base::mix_key({base::key_of("inserted noise"), seed, base::key_of(record.patient), base::key_of(record.series),
                        std::bit_cast<std::uint64_t>(record.position_mm)});
}

// Projectors by pixel size: a data set has few.
class Projectors {
 public:
  explicit Projectors(std::int64_t image_size) : image_size_(static_cast<int>(image_size)) {}
  const ct::ParallelProjector& of(double pixel_mm) {
    const auto known = projectors_.find(pixel_mm);
    if (known != projectors_.end()) return known->second;
    return projectors_.emplace(pixel_mm, ct::make_image_projector(image_size_, pixel_mm)).first->second;
  }

 private:
  int image_size_;
  std::map<double, ct::ParallelProjector> projectors_;
};

}  // namespace

bool simulate_low_dose(const DoseSimulationOptions& options, distributed::Communicator& communicator,
                       logging::Console& console, const std::function<bool()>& should_stop) {
  ct::check(options.dose);
  check_folders(options);
  const ShardCatalogue catalogue = ShardCatalogue::open(options.input);
  check_square(catalogue);
  Projectors projectors(catalogue.rows());

  ShardSet set;
  set.folder = options.output;
  set.parameters = {{"command", "simulate"},
                    {"input_fingerprint", catalogue.fingerprint()},
                    {"dose_fraction", fmt::to_string(options.dose.dose_fraction)},
                    {"photons_per_ray_full_dose", fmt::to_string(options.dose.photons_per_ray_full_dose)},
                    {"electronic_variance", fmt::to_string(options.dose.electronic_variance)},
                    {"water_mu_per_mm", fmt::to_string(options.dose.water_mu_per_mm)},
                    {"minimum_photons", fmt::to_string(options.dose.minimum_photons)},
                    {"seed", fmt::to_string(options.seed)}};
  set.shape = catalogue.shape();
  set.shape.has_low_dose = true;
  set.num_slices = catalogue.num_slices();
  set.slices_per_shard = kSlicesPerShard;
  set.slice_at = [&](std::int64_t id) {
    Slice slice = catalogue.read_slice(id, {.low_dose = false, .tissue = true, .noise_free = true});
    const at::Tensor low_dose_hu =
        ct::insert_low_dose(slice.normal_dose_hu.to(at::kFloat), projectors.of(slice.record.spacing_mm[0]),
                            options.dose, noise_seed(options.seed, slice.record));
    slice.low_dose_hu = quantise_hu(low_dose_hu);
    slice.record.dose_fraction = options.dose.dose_fraction;
    return slice;
  };
  set.should_stop = should_stop;
  return !write_shard_set(set, communicator, console).empty();
}

}  // namespace leda::data
