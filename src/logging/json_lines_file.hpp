// Opens a file of one JSON object a line to be appended to, whatever a killed run left of its last line.
#pragma once

#include <filesystem>

#include "logging/append_file.hpp"

namespace leda::logging {

// Creates it where it is missing. A torn last line is taken away, a whole one without its line end gets it.
// Error(storage) on failure.
AppendFile open_json_lines(const std::filesystem::path& path);

}  // namespace leda::logging
