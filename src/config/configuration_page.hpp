// docs/configuration.md, made from the option table: every option of leda_dist_train with its kind, its default, and
// its value in the embedded job where that is another one.
#pragma once

#include <string>

namespace leda::config {

std::string configuration_page();

}  // namespace leda::config
