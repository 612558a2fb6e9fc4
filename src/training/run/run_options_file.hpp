// options.cfg in the run folder: the resolved options of a run, and which of them may change when it is resumed.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "distributed/core/communicator.hpp"

namespace leda::training {

// An option of a run, as it was resolved.
struct OptionValue {
  std::string name;
  std::string value;
  // Length, cadence, logging, and where the work is done change no result that is already there; everything else would.
  bool may_change_on_resume = false;
};
using OptionValues = std::vector<OptionValue>;

// Writes the file, or, where there is one and a checkpoint beside it, compares: throws ErrorOnAllRanks(options) that
// names every option that changed and may not. Collective; rank 0 reads and writes.
void keep_run_options(const std::filesystem::path& run_folder, const OptionValues& values,
                      distributed::Communicator& communicator);

// Throws ErrorOnAllRanks(communication) that names the first option and rank that differ from rank 0's. Collective.
void require_equal_options(const OptionValues& values, distributed::Communicator& communicator);

}  // namespace leda::training
