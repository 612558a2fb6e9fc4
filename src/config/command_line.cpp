#include "config/command_line.hpp"

#include <algorithm>

#include "base/error.hpp"

namespace leda::config {

bool CommandLine::has(const std::string& action) const {
  return std::find(actions.begin(), actions.end(), action) != actions.end();
}

CommandLine parse_command_line(const std::vector<std::string>& arguments, const std::vector<std::string>& actions,
                               const std::string& text_without_file, OptionTable& table) {
  CommandLine line;
  std::vector<std::string> options;
  int num_config_files = 0;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      line.wants_help = true;
    } else if (argument == "--version") {
      line.wants_version = true;
    } else if (argument == "--dump-config") {
      line.wants_dump = true;
    } else if (std::find(actions.begin(), actions.end(), argument) != actions.end()) {
      line.actions.push_back(argument);
    } else if (argument == "--config" && i + 1 < arguments.size()) {
      line.config_file = arguments[++i];
      ++num_config_files;
    } else if (argument.starts_with("--config=")) {
      line.config_file = argument.substr(std::string("--config=").size());
      ++num_config_files;
    } else if (argument == "--config") {
      throw base::ErrorOnAllRanks(base::ExitCode::options, {.what = "--config needs a file",
                                                            .value = "nothing follows it",
                                                            .why = "",
                                                            .remedy = "--config configs/quickstart.cfg, say"});
    } else {
      options.push_back(argument);
    }
  }
  if (num_config_files > 1) {
    throw base::ErrorOnAllRanks(base::ExitCode::options, {.what = "--config is given twice",
                                                          .value = line.config_file,
                                                          .why = "only one of the files could be used",
                                                          .remedy = "name one file; the command line may add to it"});
  }
  if (!line.config_file.empty()) {
    table.parse_file(line.config_file);
  } else if (!text_without_file.empty()) {
    table.parse_text(text_without_file, "the embedded job");
  }
  table.parse_arguments(options);
  return line;
}

}  // namespace leda::config
