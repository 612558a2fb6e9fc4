// What an explanation found: which words the images of a data set are made of, how well they agree, and what changed.
// Plain data, equal on every rank.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "evaluation/statistics.hpp"
#include "evaluation/word_agreement.hpp"

namespace leda::explanation {

// A word and how often each image has it.
struct WordRow {
  std::int64_t token = 0;
  std::vector<std::int64_t> counts{};  // per image
  std::vector<double> margins{};       // mean margin per image; NaN where the image lacks the word

  std::int64_t total() const;
};

// One image against the normal dose.
struct AgreementRow {
  std::string image{};
  evaluation::WordAgreement mean{};  // over slices
  evaluation::WordAgreement
      deviation_over_patients{};  // sample standard deviation of the patients' means; 0 with one patient
  std::vector<evaluation::PatientAgreement> by_patient{};  // in the order of Explanation::patients
  std::vector<evaluation::WordAgreement> slices{};         // in the order of Explanation::slice_ids
};

// Match rate of the denoised image minus that of the low dose, slice by slice.
struct MatchGain {
  std::string unit{};  // what the bootstrap draws: "patients", or "slices" where there are fewer than 5 patients
  std::int64_t num_units = 0;
  evaluation::PairedDifference match_rate{};
};

struct ChangeRow {
  std::int64_t from = 0;  // tokens
  std::int64_t to = 0;
  std::int64_t count = 0;
  std::int64_t num_slices = 0;
  std::vector<std::array<std::int64_t, 3>> positions{};  // slice id, row, column; the first ones only
};

// From one image to the next.
struct ChangeTable {
  std::string from_image{};
  std::string to_image{};
  std::int64_t num_changed = 0;   // positions
  std::vector<ChangeRow> rows{};  // most frequent first
};

struct TissueRow {
  std::string image{};
  std::int64_t num_positions = 0;
  std::int64_t num_non_air_positions = 0;
  double all = 0.0;      // share of positions whose word is one of the tissue there
  double non_air = 0.0;  // the same where the tissue is not air
};

struct LevelExplanation {
  int level = 1;  // as in the pyramid: levels are not renumbered where coarse ones are absent
  std::int64_t cell_pixels = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t num_positions = 0;  // over all slices, of one image
  std::vector<WordRow> words{};    // all that occur, most frequent first
  std::vector<AgreementRow> agreement{};
  std::optional<MatchGain> gain{};  // where there is a denoised image
  std::vector<ChangeTable> changes{};
  std::vector<TissueRow> tissue{};  // per image; empty without labels
};

struct Explanation {
  std::vector<std::string> images{};  // "low dose", "denoised", "normal dose": those there are, in this order
  std::vector<std::int64_t> slice_ids{};
  std::vector<std::string> patients{};
  std::vector<LevelExplanation> levels{};
  std::string data_fingerprint{};
  std::int64_t num_top_words = 0;
  ct::Window autoencoder_window{};
};

}  // namespace leda::explanation
