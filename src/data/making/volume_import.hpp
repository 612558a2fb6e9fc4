// Volumes from other programs to shards, normal dose only.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

struct VolumeImportOptions {
  std::string input;   // FILE.inv3, or a raw int16 file
  std::string output;  // folder
  std::string patient = "patient_0001";
  std::string series = "series_0001";
  std::int64_t slices_per_shard = 32;
  std::vector<int> raw_shape;          // slices, rows, columns: the input is raw
  std::vector<double> raw_spacing_mm;  // between rows, columns, slices
  bool flips_rows = false;             // turns the slices upside down (after the format's own rule)
};

// Collective. False where `should_stop`, as of ShardSet, said so. Names of people or files do not enter the shards:
// patient and series are the pseudonyms given here.
bool import_volume(const VolumeImportOptions& options, distributed::Communicator& communicator,
                   logging::Console& console, const std::function<bool()>& should_stop = {});

}  // namespace leda::data
