// Completion of command lines in bash: option names, choices, sections of help, commands, and files.
#pragma once

#include <string>
#include <vector>

#include "config/program_pages.hpp"

namespace leda::config {

// A script to be sourced, for all programs, which also completes them behind mpirun. Needs bash alone.
std::string bash_completion(const std::vector<ProgramPages>& programs);

}  // namespace leda::config
