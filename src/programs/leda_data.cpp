// leda_data COMMAND: makes and checks shards. Works alone and on any number of ranks.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/command_line.hpp"
#include "config/data_options.hpp"
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

// False where only help and the like was wanted, and given.
bool parse(const std::string& command, OptionTable& table, const Arguments& arguments, Console& console) {
  const leda::config::ProgramDescription program = leda::config::data_command(command);
  const leda::config::CommandLine line = leda::config::parse_command_line(arguments, program, "", table);
  const auto answer = answer_to(line, program, table);
  if (answer) console.print(*answer);
  return !answer;
}

void require(const std::string& command, const std::string& key, const std::string& value) {
  if (!value.empty()) return;
  throw ErrorOnAllRanks(
      ExitCode::options,
      {.what = fmt::format("leda_data {} needs --{}", command, key),
       .value = "",
       .why = "",
       .remedy = fmt::format("for example: {}", leda::config::data_command(command).examples.front().command)});
}

template <typename Work>
ExitCode write_shards(const Work& work, Communicator& communicator, Console& console) {
  return leda::programs::run_stoppable(work, "stopped, on request; the same command goes on from the complete shards",
                                       communicator, console);
}

ExitCode run_phantom(const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::PhantomDatasetOptions options;
  OptionTable table;
  leda::config::bind_phantom_options(table, options);
  if (!parse("phantom", table, arguments, console)) return ExitCode::finished;
  require("phantom", "data.output", options.folder);
  return write_shards(
      [&](const auto& should_stop) {
        return leda::data::write_phantom_dataset(options, communicator, console, should_stop);
      },
      communicator, console);
}

ExitCode run_import(const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::VolumeImportOptions options;
  OptionTable table;
  leda::config::bind_import_options(table, options);
  if (!parse("import", table, arguments, console)) return ExitCode::finished;
  require("import", "data.input", options.input);
  require("import", "data.output", options.output);
  return write_shards(
      [&](const auto& should_stop) { return leda::data::import_volume(options, communicator, console, should_stop); },
      communicator, console);
}

ExitCode run_simulate(const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::DoseSimulationOptions options;
  OptionTable table;
  leda::config::bind_simulate_options(table, options);
  if (!parse("simulate", table, arguments, console)) return ExitCode::finished;
  require("simulate", "data.input", options.input);
  require("simulate", "data.output", options.output);
  return write_shards(
      [&](const auto& should_stop) {
        return leda::data::simulate_low_dose(options, communicator, console, should_stop);
      },
      communicator, console);
}

ExitCode run_split(const Arguments& arguments, Communicator& communicator, Console& console) {
  leda::data::SplitOptions options;
  OptionTable table;
  leda::config::bind_split_options(table, options);
  if (!parse("split", table, arguments, console)) return ExitCode::finished;
  require("split", "data.input", options.input);
  require("split", "data.output", options.output);
  return write_shards(
      [&](const auto& should_stop) { return leda::data::split_dataset(options, communicator, console, should_stop); },
      communicator, console);
}

// The folder of `info` and `verify`; empty where only help was wanted.
std::string parse_folder(const std::string& command, const Arguments& arguments, Console& console) {
  std::string folder;
  OptionTable table;
  leda::config::bind_folder_option(table, folder);
  if (!parse(command, table, arguments, console)) return "";
  require(command, "data.folder", folder);
  return folder;
}

ExitCode run_info(const Arguments& arguments, Communicator& communicator, Console& console) {
  const std::string folder = parse_folder("info", arguments, console);
  if (folder.empty()) return ExitCode::finished;
  return leda::programs::run_stoppable(
      [&](const auto& should_stop) {
        return leda::data::print_dataset_info(folder, communicator, console, should_stop);
      },
      "stopped, on request", communicator, console);
}

ExitCode run_verify(const Arguments& arguments, Communicator& communicator, Console& console) {
  const std::string folder = parse_folder("verify", arguments, console);
  if (folder.empty()) return ExitCode::finished;
  return leda::programs::run_stoppable(
      [&](const auto& should_stop) { return leda::data::verify_dataset(folder, communicator, console, should_stop); },
      "stopped, on request", communicator, console);
}

struct Command {
  const char* name;
  ExitCode (*run)(const Arguments& arguments, Communicator& communicator, Console& console);
};

// Described in config/data_options.
constexpr std::array<Command, 6> kCommands{{{"phantom", run_phantom},
                                            {"import", run_import},
                                            {"simulate", run_simulate},
                                            {"split", run_split},
                                            {"info", run_info},
                                            {"verify", run_verify}}};

const Command& command_of(const std::string& name) {
  for (const Command& command : kCommands) {
    if (name == command.name) return command;
  }
  const std::vector<std::string> names = leda::config::data_commands();
  throw ErrorOnAllRanks(ExitCode::options,
                        {.what = "leda_data knows no such command",
                         .value = name,
                         .why = "",
                         .remedy = fmt::format("did you mean {}? The commands are {}",
                                               leda::config::nearest_name(name, names), fmt::join(names, ", "))});
}

ExitCode run(const Arguments& all_arguments, Communicator& communicator, Console& console) {
  Arguments arguments = all_arguments;
  std::erase(arguments, leda::config::kQuiet);  // run_program has read it
  if (arguments.empty() || arguments.front().starts_with("-")) {
    const leda::config::ProgramDescription program = leda::config::data_program();
    OptionTable no_options;
    leda::config::CommandLine line = leda::config::parse_command_line(arguments, program, "", no_options);
    if (arguments.empty()) line.help = "";
    if (const auto answer = answer_to(line, program, no_options)) console.print(*answer);
    return ExitCode::finished;
  }
  leda::programs::set_threads(1, communicator);  // the ranks are the parallelism here
  const Command& command = command_of(arguments.front());
  return command.run(Arguments(arguments.begin() + 1, arguments.end()), communicator, console);
}

}  // namespace

int main(int argc, char** argv) { leda::programs::run_program(argc, argv, "leda_data", run); }
