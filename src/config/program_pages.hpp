// All programs as their pages see them: man pages, completion and docs/configuration.md are made from this list.
#pragma once

#include <vector>

#include "config/option_table.hpp"
#include "config/program_description.hpp"

namespace leda::config {

// A program, or a command of one. Options at their defaults; leda_dist_train's at those of the embedded job.
struct ProgramPages {
  ProgramDescription program;
  std::vector<SectionDescription> sections{};
  std::vector<OptionDescription> options{};
};

// leda_dist_train first; leda_data is followed by its commands.
std::vector<ProgramPages> all_program_pages();

}  // namespace leda::config
