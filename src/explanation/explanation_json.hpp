// An explanation as programs read it: explanation.json (docs/formats/explain.md).
#pragma once

#include <string>

#include "explanation/explanation_result.hpp"
#include "language/vocabulary.hpp"

namespace leda::explanation {

// Where the numbers come from, for readers of the files.
struct ExplanationSources {
  std::string data_folder{};
  std::string autoencoder{};  // file
  std::string autoencoder_checksum{};
  std::string codebook_ablation = "none";  // what took the language out of the codebook (AutoencoderFile)
  std::string denoiser{};                  // file; empty without one
};

std::string to_json(const Explanation& explanation, const language::Vocabulary& vocabulary,
                    const ExplanationSources& sources);

}  // namespace leda::explanation
