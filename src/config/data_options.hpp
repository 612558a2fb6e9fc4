// leda_data's commands: their options, and what they say of themselves.
#pragma once

#include <string>
#include <vector>

#include "config/option_table.hpp"
#include "config/program_description.hpp"
#include "data/making/dataset_split.hpp"
#include "data/making/dose_simulation.hpp"
#include "data/making/phantom_dataset.hpp"
#include "data/making/volume_import.hpp"

namespace leda::config {

// leda_data without a command.
ProgramDescription data_program();
// In the order in which they are listed.
std::vector<std::string> data_commands();
// `command`: one of data_commands().
ProgramDescription data_command(const std::string& command);

// The options must outlive the table.
void bind_phantom_options(OptionTable& table, data::PhantomDatasetOptions& options);
void bind_import_options(OptionTable& table, data::VolumeImportOptions& options);
void bind_simulate_options(OptionTable& table, data::DoseSimulationOptions& options);
void bind_split_options(OptionTable& table, data::SplitOptions& options);
// Of info and verify.
void bind_folder_option(OptionTable& table, std::string& folder);

}  // namespace leda::config
