// autoencoder.safetensors: what stage 1 hands to stage 2 and to other programs. The weights under their published
// names, the codebook among them, and as metadata all it takes to build and feed the network: its options, the window
// of its images, the vocabulary's hash.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "ct/hounsfield.hpp"
#include "models/autoencoder.hpp"

namespace leda::model_files {

struct AutoencoderFile {
  std::unique_ptr<models::Autoencoder> autoencoder;  // frozen
  ct::Window window;
  std::string vocabulary_hash;
  std::string codebook_ablation = "none";  // language::ablation_record; files without the entry have none
  std::string checksum;                    // of the file's bytes, 16 hex digits
};

// Throws Error(storage).
void save_autoencoder(const std::filesystem::path& path, const models::Autoencoder& autoencoder,
                      const ct::Window& window, const std::string& vocabulary_hash,
                      const std::string& codebook_ablation = "none");
// Values are converted to the settings' type. `vocabulary_tile` words are scored at a time: the file does not say,
// because it is a matter of the memory that the network runs in. Throws Error(data) naming file and field.
AutoencoderFile load_autoencoder(const std::filesystem::path& path, const models::TensorSettings& settings,
                                 int vocabulary_tile = models::AutoencoderOptions{}.vocabulary_tile);
// Throws ErrorOnAllRanks(data) unless the file's codebook is made of this vocabulary under this ablation.
void require_vocabulary(const AutoencoderFile& file, const std::filesystem::path& path, const std::string& hash,
                        const std::string& ablation);

}  // namespace leda::model_files
