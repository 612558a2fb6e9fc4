// Word scores: for each slice of a data set, the words of the vocabulary that a vision-language model finds most like
// it (docs/formats/word_scores.md; data_tools/score_words.py makes the file). Read once at the start of a run, for the
// slices of one data set; then an immutable value that any thread may use.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "language/vocabulary.hpp"

namespace leda::language {

// What a slice is known by in shards of whatever name.
struct SliceIdentity {
  std::string patient;  // pseudonyms
  std::string series;
  double position_mm = 0.0;
  std::uint64_t image_checksum = 0;  // of the stored normal-dose image: two slices may bear one name
};

class WordScores {
 public:
  // Slice i of the result is slices[i]. Throws Error(data) that names the file and what is wrong with it, or the first
  // of the slices that it does not hold, and the vocabulary if it was made for another one.
  static WordScores load(const std::string& file, const Vocabulary& vocabulary, std::span<const SliceIdentity> slices);

  std::int64_t num_slices() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  // Tokens whose score is at least `threshold`, the best first; never empty for thresholds up to 1.
  std::span<const std::int32_t> words_of(std::int64_t slice, double threshold) const;
  // Words that score less are not in the file: no threshold may lie below.
  double lowest_score() const { return lowest_score_; }
  const std::string& model() const { return model_; }
  // 16 hex digits over the tokens and scores of all slices, in order.
  std::string hash() const;

 private:
  WordScores() = default;

  std::string model_;
  double lowest_score_ = 0.0;
  std::vector<std::int64_t> offsets_{0};  // of a slice's words in what follows
  std::vector<std::int32_t> tokens_;
  std::vector<float> scores_;  // in [lowest_score, 1], descending within a slice, the first 1
};

}  // namespace leda::language
