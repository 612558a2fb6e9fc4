// denoiser.safetensors: what stage 2 leaves to evaluation and to other programs: the weights, and as metadata the
// network's options, the window of its images, the seed, and whether LEDA took part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "ct/hounsfield.hpp"
#include "models/denoiser.hpp"

namespace leda::model_files {

struct DenoiserFacts {
  models::DenoiserOptions options;
  ct::Window window;
  std::uint64_t seed = 0;
  double leda_weight = 0.0;
};

struct DenoiserFile {
  std::unique_ptr<models::Denoiser> denoiser;
  DenoiserFacts facts;
};

// Throws Error(storage).
void save_denoiser(const std::filesystem::path& path, const models::TensorTable& tensors, const DenoiserFacts& facts);
// Values are converted to the settings' type. Throws Error(data) naming file and field.
DenoiserFile load_denoiser(const std::filesystem::path& path, const models::TensorSettings& settings);

}  // namespace leda::model_files
