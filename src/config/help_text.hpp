// --help: one screen of 24 lines that says what a program does and which options it has, or, of many, which sections; a
// section's options, or all, where they are asked for by name.
#pragma once

#include <string>

#include "config/option_table.hpp"
#include "config/program_description.hpp"

namespace leda::config {

// `section`: empty for the screen, a section's name, or "all". Lines of at most 100 columns; ends with a line break.
// Values are those that the table has now. Throws ErrorOnAllRanks(options) for another section, naming the nearest.
std::string help_text(const ProgramDescription& program, const OptionTable& table, const std::string& section);

// `text` in lines of at most `width` columns, each after the first begun with `indent` spaces; no line break at its
// end.
std::string wrapped(const std::string& text, std::size_t width, std::size_t indent);

}  // namespace leda::config
