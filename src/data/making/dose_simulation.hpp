// Low-dose partners for a data set that has none: noise insertion into real slices (ct/low_dose_simulation, recipe B).
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "ct/low_dose_simulation.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

struct DoseSimulationOptions {
  std::string input;   // folder of shards; only read
  std::string output;  // another folder
  ct::DoseSettings dose = ct::noise_insertion_settings();
  std::uint64_t seed = 1;
};

// Collective. False where `should_stop`, as of ShardSet, said so. The noise of a slice depends on (seed, patient,
// series, position): not on shards or ranks.
bool simulate_low_dose(const DoseSimulationOptions& options, distributed::Communicator& communicator,
                       logging::Console& console, const std::function<bool()>& should_stop = {});

}  // namespace leda::data
