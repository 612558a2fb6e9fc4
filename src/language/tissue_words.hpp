// Which words of a vocabulary speak of which tissue. The tissues are HU ranges (ct/tissue.hpp), so are the words:
// what is as bright as enhanced blood is called blood. Sources of the ranges: docs/methods/candidate_words.md.
// Immutable; needs the vocabulary only while it is built.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "ct/tissue.hpp"
#include "language/vocabulary.hpp"

namespace leda::language {

// All terms of a tissue, whether a vocabulary has them or not. No term belongs to two tissues.
std::span<const std::string_view> terms_of(ct::Tissue tissue);

class TissueWords {
 public:
  // Throws Error(data) if a tissue has no word in the vocabulary; the message lists its terms.
  explicit TissueWords(const Vocabulary& vocabulary);

  // The tokens of a tissue's terms, in the order of its terms; never empty.
  const std::vector<std::int64_t>& tokens_of(ct::Tissue tissue) const;
  bool is_word_of(ct::Tissue tissue, std::int64_t token) const;
  // is_word_of for all: [kNumTissues, V], bool, CPU.
  const at::Tensor& membership() const { return membership_; }

 private:
  std::array<std::vector<std::int64_t>, ct::kNumTissues> tokens_;
  at::Tensor membership_;
};

}  // namespace leda::language
