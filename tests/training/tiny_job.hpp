// A job small enough for tests: 64 x 64 phantoms, narrow networks, three pyramid levels on a 4 x 4 map.
#pragma once

#include <filesystem>

#include "training/options/job_options.hpp"

namespace leda::test {

// Writes train/, validation/ and test/ phantoms below `folder`: 12, 4 and 4 slices.
void write_tiny_phantoms(const std::filesystem::path& folder);
// Its options, data in `folder`, float64, discriminator from step 0 on, default learning rates.
training::JobOptions tiny_job(const std::filesystem::path& folder);

}  // namespace leda::test
