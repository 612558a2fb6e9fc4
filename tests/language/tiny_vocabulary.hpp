// A vocabulary of all tissue terms and a few more words, with embeddings given by a formula.
#pragma once

#include <ATen/ops/empty.h>

#include <cmath>
#include <string>

#include "ct/tissue.hpp"
#include "language/tissue_words.hpp"
#include "language/vocabulary.hpp"

namespace leda::test {

inline language::Vocabulary tiny_vocabulary(std::int64_t channels = 5) {
  language::Vocabulary vocabulary;
  vocabulary.words = {"first", "second"};
  for (const ct::TissueRange& row : ct::kTissues) {
    for (const std::string_view term : language::terms_of(row.tissue)) vocabulary.words.emplace_back(term);
  }
  vocabulary.words.emplace_back("last");
  vocabulary.embeddings = at::empty({vocabulary.size(), channels}, at::kFloat);
  float* value = vocabulary.embeddings.mutable_data_ptr<float>();
  for (std::int64_t word = 0; word < vocabulary.size(); ++word) {
    for (std::int64_t channel = 0; channel < channels; ++channel) {
      *value++ = static_cast<float>(0.4 * std::sin(0.9 * static_cast<double>((word + 1) * (channel + 1))));
    }
  }
  vocabulary.source = "a formula";
  vocabulary.licence = "none";
  vocabulary.hash = language::vocabulary_hash(vocabulary.words, vocabulary.embeddings);
  return vocabulary;
}

}  // namespace leda::test
