// An error of one rank as a text for the others, who throw the same. Free functions.
#pragma once

#include <string>

#include "base/error.hpp"

namespace leda::distributed {

// JSON; bytes that are no UTF-8, of file names say, are replaced.
std::string error_message(const base::Error& error);
// The error of such a text, as known to every rank.
base::ErrorOnAllRanks error_of_message(const std::string& message);

}  // namespace leda::distributed
