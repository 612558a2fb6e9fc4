// What one slice contributes to an explanation: its words by image and level, their agreement with the normal dose and
// where they change. Plain data that ranks send to each other.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "evaluation/word_agreement.hpp"

namespace leda::explanation {

struct WordTally {
  std::int64_t token = 0;
  std::int64_t count = 0;
  double margin_sum = 0.0;  // over its positions, row by row
};

struct LevelOfSlice {
  bool exists = false;
  std::int64_t cell_pixels = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::vector<std::vector<WordTally>> words{};         // per image, by rising token
  std::vector<evaluation::WordAgreement> agreement{};  // of each image but the last with the last, the normal dose
  std::vector<std::vector<evaluation::ChangedWord>> changes{};  // from each image to the next
  std::vector<std::array<std::int64_t, 4>> tissue{};  // per image, language::tissue_match_counts; empty without labels
};

struct SliceWords {
  std::int64_t slice_id = -1;  // -1: a rank without a slice in this round
  std::vector<LevelOfSlice> levels{};
};

// One image's words at a level that exists, with margins, by rising token.
std::vector<WordTally> tally(const evaluation::LevelWords& level);

// Of the levels of one slice's images, the normal dose last. All images have the same levels.
std::vector<LevelOfSlice> tally_words(const std::vector<std::vector<evaluation::LevelWords>>& images,
                                      const at::Tensor& codebook, const at::Tensor& body, std::int64_t num_top_words);

// Bytes and back; numbers keep every bit.
std::string to_bytes(const SliceWords& slice);
SliceWords slice_words_of(const std::string& bytes);

}  // namespace leda::explanation
