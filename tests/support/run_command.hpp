// Runs a program as a user would, and keeps what it said.
#pragma once

#include <string>

namespace leda::test {

struct CommandResult {
  int exit_code = -1;  // 128 + signal where a signal ended it
  std::string output;  // standard output and standard error together
};

// Through the shell; gives up and kills the command's process group after `timeout_seconds` (exit code 124).
CommandResult run_command(const std::string& command, double timeout_seconds = 120.0);

}  // namespace leda::test
