// The command line of all programs: words without a section, which are the same everywhere, an option file, and the
// rest, which belongs to the option table.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "config/option_table.hpp"
#include "config/program_description.hpp"

namespace leda::config {

// Read before anything else, by run_program, because the console is made with it.
inline constexpr const char* kQuiet = "--quiet";

struct CommandLine {
  std::optional<std::string> help;  // the section asked for; empty text: none was named
  bool wants_version = false;
  bool wants_dump = false;
  std::string config_file;           // empty: none was given
  std::vector<std::string> actions;  // of the program's own, as given

  bool has(const std::string& action) const;
};

// Reads `arguments` into the table: first the option file, or, where none is named, `text_without_file`; then the
// command line's own options. Throws ErrorOnAllRanks(options).
CommandLine parse_command_line(const std::vector<std::string>& arguments, const ProgramDescription& program,
                               const std::string& text_without_file, OptionTable& table);

// What --help, --version or --dump-config asked for, to be printed instead of any work; nullopt where none was. Throws
// ErrorOnAllRanks(options) for help on a section that is not there.
std::optional<std::string> answer_to(const CommandLine& line, const ProgramDescription& program,
                                     const OptionTable& table);

}  // namespace leda::config
