// The part of a command line that is the same for all programs: actions without a section, an option file, and the
// rest, which belongs to the option table.
#pragma once

#include <string>
#include <vector>

#include "config/option_table.hpp"

namespace leda::config {

struct CommandLine {
  bool wants_help = false;
  bool wants_version = false;
  bool wants_dump = false;
  std::string config_file;           // empty: none was given
  std::vector<std::string> actions;  // of the program's own, as given

  bool has(const std::string& action) const;
};

// Reads `arguments` into the table: first the option file, or, where none is named, `text_without_file`; then the
// command line's own options. `actions` are the program's own words ("--dry-run"). Throws ErrorOnAllRanks(options).
CommandLine parse_command_line(const std::vector<std::string>& arguments, const std::vector<std::string>& actions,
                               const std::string& text_without_file, OptionTable& table);

}  // namespace leda::config
