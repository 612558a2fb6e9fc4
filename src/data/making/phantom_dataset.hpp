// Data sets of labelled phantoms at normal and low dose with their noise-free truth (ct/phantom, recipe A).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

struct PhantomDatasetOptions {
  std::string folder;
  std::int64_t num_patients = 16;
  std::int64_t first_patient = 0;  // patients are numbered: sets of one seed with other numbers share none
  std::int64_t slices_per_patient = 8;
  std::int64_t slices_per_shard = 16;
  int size = 128;  // pixels per side
  double field_of_view_mm = 360.0;
  double dose_fraction = 0.25;
  double photons_per_ray_full_dose = 5.0e4;
  double electronic_variance = 10.0;  // photons^2
  std::uint64_t seed = 1;
};

// Collective. The same files whatever the number of ranks; a finished set of the same options is left as it is. False
// where `should_stop`, as of ShardSet, said so.
bool write_phantom_dataset(const PhantomDatasetOptions& options, distributed::Communicator& communicator,
                           logging::Console& console, const std::function<bool()>& should_stop = {});

}  // namespace leda::data
