// InVesalius projects (.inv3): a gzip-compressed tar of one folder with main.plist and matrix.dat (int16 HU, C order).
#pragma once

#include <filesystem>

#include "exchange/volume.hpp"

namespace leda::exchange {

// The project's image matrix, rows flipped so that the patient's front, stored at the bottom, comes first. Throws
// Error(data) that names file and field.
Volume read_invesalius_project(const std::filesystem::path& path);

}  // namespace leda::exchange
