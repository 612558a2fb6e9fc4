// Volumes without a header: little-endian int16 HU in C order (slice, row, column).
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>

#include "exchange/volume.hpp"

namespace leda::exchange {

// Throws Error(data) unless the file holds exactly shape[0] * shape[1] * shape[2] numbers.
Volume read_raw_volume(const std::filesystem::path& path, const std::array<std::int64_t, 3>& shape,
                       const std::array<double, 3>& spacing_mm);

}  // namespace leda::exchange
