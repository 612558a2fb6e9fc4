// docs/configuration.md, made from the option tables: every option with its kind and its default; those of
// leda_dist_train by section, with their value in the embedded job where that is another one.
#pragma once

#include <string>

namespace leda::config {

std::string configuration_page();

}  // namespace leda::config
