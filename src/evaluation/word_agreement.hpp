// How alike two images are in words: numbers per pyramid level, and where the words differ. Equations:
// docs/methods/explain.md. Pure functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "evaluation/image_words.hpp"

namespace leda::evaluation {

// Of one level of an image and of its reference.
struct WordAgreement {
  double match_rate = 0.0;          // share of positions with the same token
  double body_match_rate = 0.0;     // the same among the cells in the body; NaN where there is none
  double top_word_overlap = 0.0;    // share of the most frequent words that both images have among theirs
  double embedding_distance = 0.0;  // mean over positions of |e(t) - e(t_reference)|
};

struct PatientAgreement {
  std::string patient{};
  std::int64_t num_slices = 0;
  WordAgreement mean{};  // over the patient's slices
};

// The numbers by name, in the order of every table and file.
struct AgreementFigure {
  const char* name;   // the key in files
  const char* label;  // the word in tables
  double WordAgreement::*value;
};
inline constexpr std::array<AgreementFigure, 4> kAgreementFigures{
    {{"match_rate", "token match", &WordAgreement::match_rate},
     {"body_match_rate", "in the body", &WordAgreement::body_match_rate},
     {"top_word_overlap", "top words", &WordAgreement::top_word_overlap},
     {"embedding_distance", "distance", &WordAgreement::embedding_distance}}};

// The levels exist and are of equal size. codebook: V x C, float64. in_body: cells_in_body. Top words: the
// `num_top_words` most frequent ones of each image, the lower token first between equals; divided by the longer list.
WordAgreement word_agreement(const LevelWords& image, const LevelWords& reference, const at::Tensor& codebook,
                             const at::Tensor& in_body, std::int64_t num_top_words);

// A position whose word differs.
struct ChangedWord {
  std::int64_t from = 0;  // tokens
  std::int64_t to = 0;
  std::int64_t row = 0;
  std::int64_t column = 0;
};
// Row by row.
std::vector<ChangedWord> changed_words(const LevelWords& from, const LevelWords& to);

// Means over slices of each number; NaN entries are left out, and NaN remains where all are.
WordAgreement mean_agreement(const std::vector<WordAgreement>& slices);

}  // namespace leda::evaluation
