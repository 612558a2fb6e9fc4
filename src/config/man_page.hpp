// A man page (section 1) of a program, in the man macros of roff that groff and mandoc read.
#pragma once

#include <string>

#include "config/program_pages.hpp"

namespace leda::config {

// Ends with a line break. leda_data's commands have pages of their own, named leda_data-import.
std::string man_page(const ProgramPages& pages);
// "leda_data-import.1"
std::string man_page_file_name(const ProgramDescription& program);

}  // namespace leda::config
