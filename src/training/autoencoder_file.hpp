// autoencoder.safetensors: what stage 1 hands to stage 2 and to other programs. The weights under their published
// names, the codebook among them, and as metadata all it takes to build and feed the network: its options, the window
// of its images, the vocabulary's hash.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "ct/hounsfield.hpp"
#include "models/autoencoder.hpp"

namespace leda::training {

struct AutoencoderFile {
  std::unique_ptr<models::Autoencoder> autoencoder;  // frozen
  ct::Window window;
  std::string vocabulary_hash;
  std::string checksum;  // of the file's bytes, 16 hex digits
};

// Throws Error(storage).
void save_autoencoder(const std::filesystem::path& path, const models::Autoencoder& autoencoder,
                      const ct::Window& window, const std::string& vocabulary_hash);
// Values are converted to the settings' type. Throws Error(data) naming file and field.
AutoencoderFile load_autoencoder(const std::filesystem::path& path, const models::TensorSettings& settings);

}  // namespace leda::training
