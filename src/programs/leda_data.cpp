// leda_data COMMAND: makes and checks shards. Works alone and on any number of ranks.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/option_table.hpp"
#include "data/making/dataset_report.hpp"
#include "data/making/dataset_split.hpp"
#include "data/making/dose_simulation.hpp"
#include "data/making/phantom_dataset.hpp"
#include "data/making/volume_import.hpp"
#include "programs/run_program.hpp"
#include "programs/stoppable_work.hpp"

namespace {

using leda::base::ErrorOnAllRanks;
using leda::base::ExitCode;
using leda::config::OptionTable;
using leda::distributed::Communicator;
using leda::logging::Console;
using Arguments = std::vector<std::string>;

struct Command {
  const char* name;
  const char* summary;
  const char* example;
  ExitCode (*run)(const Command& command, const Arguments& arguments, Communicator& communicator, Console& console);
};

bool contains(const Arguments& arguments, const std::string& wanted) {
  return std::find(arguments.begin(), arguments.end(), wanted) != arguments.end();
}

// False where only help was wanted, and given. `--config FILE` comes first whatever its place, so that the command
// line outranks it.
bool parse(const Command& command, OptionTable& table, Arguments arguments, Console& console) {
  if (contains(arguments, "--help")) {
    console.say(
        fmt::format("leda_data {}: {}\n\nexample: {}\n\noptions, written --section.name value, or in a file "
                    "given by --config FILE:\n{}",
                    command.name, command.summary, command.example, table.help_text()));
    return false;
  }
  if (const auto config = std::find(arguments.begin(), arguments.end(), "--config"); config != arguments.end()) {
    if (config + 1 == arguments.end()) {
      throw ErrorOnAllRanks(ExitCode::options,
                            {.what = "--config needs a file", .value = "", .why = "", .remedy = "write --config FILE"});
    }
    table.parse_file(*(config + 1));
    arguments.erase(config, config + 2);
  }
  table.parse_arguments(arguments);
  return true;
}

void require(const Command& command, const std::string& key, const std::string& value) {
  if (!value.empty()) return;
  throw ErrorOnAllRanks(ExitCode::options, {.what = fmt::format("leda_data {} needs --{}", command.name, key),
                                            .value = "",
                                            .why = "",
                                            .remedy = fmt::format("for example: {}", command.example)});
}

template <typename Work>
ExitCode write_shards(const Work& work, Communicator& communicator, Console& console) {
  return leda::programs::run_stoppable(work, "stopped, on request; the same command goes on from the complete shards",
                                       communicator, console);
}

ExitCode run_phantom(const Command& command, const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::PhantomDatasetOptions options;
  OptionTable table;
  table.add("data.output", "folder of the new data set", &options.folder);
  table.add("data.num_patients", "patients, each another anatomy", &options.num_patients);
  table.add("data.first_patient", "number of the first: other numbers, other patients", &options.first_patient);
  table.add("data.slices_per_patient", "neighbouring slices of each patient", &options.slices_per_patient);
  table.add("data.slices_per_shard", "slices in one file", &options.slices_per_shard);
  table.add("data.size", "pixels per side: 64 to 512, a multiple of 16", &options.size);
  table.add("data.field_of_view_mm", "side of the image", &options.field_of_view_mm);
  table.add("data.dose_fraction", "dose of the low-dose partner", &options.dose_fraction);
  table.add("data.photons_per_ray", "photons per ray at normal dose", &options.photons_per_ray_full_dose);
  table.add("data.electronic_variance", "electronic noise, photons squared", &options.electronic_variance);
  table.add("data.seed", "anatomy and noise", &options.seed);
  if (!parse(command, table, arguments, console)) return ExitCode::finished;
  require(command, "data.output", options.folder);
  return write_shards(
      [&](const auto& should_stop) {
        return leda::data::write_phantom_dataset(options, communicator, console, should_stop);
      },
      communicator, console);
}

ExitCode run_import(const Command& command, const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::VolumeImportOptions options;
  OptionTable table;
  table.add("data.input", "an InVesalius project (.inv3), or a file of little-endian int16 HU", &options.input);
  table.add("data.output", "folder of the new data set", &options.output);
  table.add("data.patient", "pseudonym", &options.patient);
  table.add("data.series", "pseudonym", &options.series);
  table.add("data.slices_per_shard", "slices in one file", &options.slices_per_shard);
  table.add("data.raw_shape", "slices,rows,columns of a raw file", &options.raw_shape);
  table.add("data.raw_spacing_mm", "mm between rows,columns,slices of a raw file", &options.raw_spacing_mm);
  table.add("data.flips_rows", "turn the slices upside down", &options.flips_rows);
  if (!parse(command, table, arguments, console)) return ExitCode::finished;
  require(command, "data.input", options.input);
  require(command, "data.output", options.output);
  return write_shards(
      [&](const auto& should_stop) { return leda::data::import_volume(options, communicator, console, should_stop); },
      communicator, console);
}

ExitCode run_simulate(const Command& command, const Arguments& arguments, Communicator& communicator,
                      Console& console) {
  leda::data::DoseSimulationOptions options;
  OptionTable table;
  table.add("data.input", "folder of a data set; it stays as it is", &options.input);
  table.add("data.output", "folder of the new data set", &options.output);
  table.add("data.dose_fraction", "dose of the low-dose partner", &options.dose.dose_fraction);
  table.add("data.photons_per_ray", "photons per ray at normal dose", &options.dose.photons_per_ray_full_dose);
  table.add("data.electronic_variance", "electronic noise, photons squared", &options.dose.electronic_variance);
  table.add("data.water_mu_per_mm", "attenuation of water", &options.dose.water_mu_per_mm);
  table.add("data.minimum_photons", "smallest reading before the logarithm", &options.dose.minimum_photons);
  table.add("data.seed", "noise", &options.seed);
  if (!parse(command, table, arguments, console)) return ExitCode::finished;
  require(command, "data.input", options.input);
  require(command, "data.output", options.output);
  return write_shards(
      [&](const auto& should_stop) {
        return leda::data::simulate_low_dose(options, communicator, console, should_stop);
      },
      communicator, console);
}

ExitCode run_split(const Command& command, const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::SplitOptions options;
  OptionTable table;
  table.add("data.input", "folder of a data set; it stays as it is", &options.input);
  table.add("data.output", "folder that gets train/, validation/ and test/", &options.output);
  table.add("data.fractions", "shares of train,validation,test: of the patients, or of a single patient's slices",
            &options.fractions);
  table.add("data.patients", "instead: numbers of patients for train,validation,test", &options.patients);
  table.add("data.slices", "instead: slice ids for train,validation,test, FIRST:LAST joined by +, - for none",
            &options.slices);
  table.add("data.gap", "slices left out between blocks of one patient", &options.gap);
  table.add("data.seed", "which patients go where", &options.seed);
  table.add("data.slices_per_shard", "slices in one file", &options.slices_per_shard);
  if (!parse(command, table, arguments, console)) return ExitCode::finished;
  require(command, "data.input", options.input);
  require(command, "data.output", options.output);
  return write_shards(
      [&](const auto& should_stop) { return leda::data::split_dataset(options, communicator, console, should_stop); },
      communicator, console);
}

// The folder of `info` and `verify`; empty where only help was wanted.
std::string parse_folder(const Command& command, const Arguments& arguments, Console& console) {
  std::string folder;
  OptionTable table;
  table.add("data.folder", "folder of a data set", &folder);
  if (!parse(command, table, arguments, console)) return "";
  require(command, "data.folder", folder);
  return folder;
}

ExitCode run_info(const Command& command, const Arguments& arguments, Communicator& communicator, Console& console) {
  const std::string folder = parse_folder(command, arguments, console);
  if (folder.empty()) return ExitCode::finished;
  return leda::programs::run_stoppable(
      [&](const auto& should_stop) {
        return leda::data::print_dataset_info(folder, communicator, console, should_stop);
      },
      "stopped, on request", communicator, console);
}

ExitCode run_verify(const Command& command, const Arguments& arguments, Communicator& communicator, Console& console) {
  const std::string folder = parse_folder(command, arguments, console);
  if (folder.empty()) return ExitCode::finished;
  return leda::programs::run_stoppable(
      [&](const auto& should_stop) { return leda::data::verify_dataset(folder, communicator, console, should_stop); },
      "stopped, on request", communicator, console);
}

constexpr std::array<Command, 6> kCommands{
    {{"phantom", "writes labelled phantoms at normal and low dose",
      "leda_data phantom --data.output phantoms --data.num_patients 24 --data.size 128", run_phantom},
     {"import", "turns another program's volume into shards",
      "leda_data import --data.input Cranium.inv3 --data.output head", run_import},
     {"simulate", "adds low-dose partners to a data set by noise insertion",
      "leda_data simulate --data.input head --data.output head_quarter --data.dose_fraction 0.25", run_simulate},
     {"split", "divides a data set into train, validation and test",
      "leda_data split --data.input head_quarter --data.output head_sets --data.gap 5", run_split},
     {"info", "says what a data set holds", "leda_data info --data.folder head_sets/train", run_info},
     {"verify", "checks every stored byte of a data set", "leda_data verify --data.folder head_sets/train",
      run_verify}}};

std::string overview() {
  std::string text = "leda_data COMMAND [--section.name value ...]: makes and checks data sets\n\n";
  for (const Command& command : kCommands) text += fmt::format("  {:<10}{}\n", command.name, command.summary);
  return text + "\nleda_data COMMAND --help lists the options of a command.";
}

const Command& command_of(const std::string& name) {
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (name == command.name) return command;
    names.emplace_back(command.name);
  }
  throw ErrorOnAllRanks(ExitCode::options,
                        {.what = "leda_data knows no such command",
                         .value = name,
                         .why = "",
                         .remedy = fmt::format("did you mean {}? The commands are {}",
                                               leda::config::nearest_name(name, names), fmt::join(names, ", "))});
}

ExitCode run(const Arguments& arguments, Communicator& communicator, Console& console) {
  if (arguments.empty() || arguments.front() == "--help") {
    console.say(overview());
    return ExitCode::finished;
  }
  leda::programs::set_threads(1, communicator);  // the ranks are the parallelism here
  const Command& command = command_of(arguments.front());
  return command.run(command, Arguments(arguments.begin() + 1, arguments.end()), communicator, console);
}

}  // namespace

int main(int argc, char** argv) { return leda::programs::run_program(argc, argv, "leda_data", run); }
