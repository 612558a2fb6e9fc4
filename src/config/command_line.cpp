#include "config/command_line.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.hpp"
#include "config/help_text.hpp"

namespace leda::config {
namespace {

bool starts_an_option(const std::string& argument) { return argument.starts_with("-"); }

void set_config_file(const std::string& file, CommandLine& line) {
  if (file.empty()) {
    throw base::ErrorOnAllRanks(base::ExitCode::options, {.what = "--config needs a file",
                                                          .value = "nothing follows it",
                                                          .why = "",
                                                          .remedy = "--config configs/quickstart.cfg, say"});
  }
  if (!line.config_file.empty()) {
    throw base::ErrorOnAllRanks(base::ExitCode::options, {.what = "--config is given twice",
                                                          .value = file,
                                                          .why = "only one of the files could be used",
                                                          .remedy = "name one file; the command line may add to it"});
  }
  line.config_file = file;
}

}  // namespace

bool CommandLine::has(const std::string& action) const {
  return std::find(actions.begin(), actions.end(), action) != actions.end();
}

CommandLine parse_command_line(const std::vector<std::string>& arguments, const ProgramDescription& program,
                               const std::string& text_without_file, OptionTable& table) {
  CommandLine line;
  std::vector<std::string> options;
  const auto is_action = [&program](const std::string& argument) {
    return std::any_of(program.actions.begin(), program.actions.end(),
                       [&](const ProgramAction& action) { return action.name == argument; });
  };
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool has_value = i + 1 < arguments.size() && !starts_an_option(arguments[i + 1]);
    if (argument == "--help" || argument == "-h") {
      line.help = has_value ? arguments[++i] : "";
    } else if (argument.starts_with("--help=")) {
      line.help = argument.substr(std::string("--help=").size());
    } else if (argument == "--version") {
      line.wants_version = true;
    } else if (argument == "--dump-config") {
      line.wants_dump = true;
    } else if (is_action(argument)) {
      line.actions.push_back(argument);
    } else if (argument == "--config") {
      set_config_file(has_value ? arguments[++i] : "", line);
    } else if (argument.starts_with("--config=")) {
      set_config_file(argument.substr(std::string("--config=").size()), line);
    } else if (argument != kQuiet) {
      options.push_back(argument);
    }
  }
  if (!line.config_file.empty()) {
    table.parse_file(line.config_file);
  } else if (!text_without_file.empty()) {
    table.parse_text(text_without_file, "the embedded job");
  }
  table.parse_arguments(options);
  return line;
}

std::optional<std::string> answer_to(const CommandLine& line, const ProgramDescription& program,
                                     const OptionTable& table) {
  std::string answer;
  if (line.help) answer += help_text(program, table, *line.help);
  if (line.wants_version) answer += fmt::format("{} {}\n", program.name, LEDA_VERSION);
  if (line.wants_dump) answer += table.dump();
  if (answer.empty()) return std::nullopt;
  answer.pop_back();  // the console ends the line
  return answer;
}

}  // namespace leda::config
