// What a rank that works on a checkpoint caught, as the one error that all ranks are told of.
#pragma once

#include <string>

#include "base/error.hpp"

namespace leda::distributed {

// Inside a catch block: the exception that was caught. Error stays itself, the file system's own exceptions are of
// storage; anything else is internal, with `what` for what failed.
base::Error caught_error(const std::string& what);

}  // namespace leda::distributed
