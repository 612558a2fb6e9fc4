// The pictures of an explanation: word maps of one slice and level, the images side by side, and what changed from one
// to the next beneath.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/shards/shard_catalogue.hpp"
#include "explanation/explanation.hpp"
#include "explanation/word_numbers.hpp"
#include "language/vocabulary.hpp"

namespace leda::explanation {

struct ExplanationDisplay {
  ct::Window window{-160.0, 240.0};
  std::int64_t legend_length = 16;  // words in a legend
};

struct ExplanationPicture {
  std::int64_t slice_id = 0;
  int level = 1;
  std::string slice{};      // slice 12, PATIENT, SERIES
  std::string file_name{};  // slice_000012_level_3.png
  std::string png{};        // the file's bytes
};

// H x W x 3 uint8: the picture of one slice and level of Explanation::levels.
at::Tensor draw_slice_words(const PictureSlice& slice, const Explanation& explanation, int level,
                            const language::Vocabulary& vocabulary, const WordNumbers& numbers,
                            const ExplanationDisplay& display, const std::string& title);

// Collective. Each rank draws its own slices; all pictures come back on every rank, by slice, then level. nullopt where
// should_stop, as of ExplainOptions, said so before a round of slices.
std::optional<std::vector<ExplanationPicture>> draw_explanation(
    const ExplainedSlices& slices, const data::ShardCatalogue& catalogue, const language::Vocabulary& vocabulary,
    const WordNumbers& numbers, const ExplanationDisplay& display, distributed::Communicator& communicator,
    const std::function<bool()>& should_stop);

}  // namespace leda::explanation
