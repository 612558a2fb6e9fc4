// Adds up what slices contribute to an explanation. Fed in the order of slice ids, so that its sums do not depend on
// which rank had which slice. One thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "explanation/explanation_result.hpp"
#include "explanation/slice_words.hpp"

namespace leda::explanation {

class ExplanationSums {
 public:
  // images: their names, the normal dose last. levels: those wanted, from 1. max_positions: listed of a change.
  ExplanationSums(std::vector<std::string> images, std::vector<int> levels, std::int64_t max_positions);

  void add(const SliceWords& slice, const std::string& patient);
  // Without levels that no slice has; what is not a sum over slices (fingerprint, windows) is left to the caller.
  Explanation result() const;

 private:
  struct WordSum {
    std::vector<std::int64_t> counts{};
    std::vector<double> margins{};
  };
  struct Level {
    int level = 1;
    std::int64_t cell_pixels = 0, rows = 0, columns = 0, num_positions = 0;
    std::map<std::int64_t, WordSum> words{};
    std::vector<std::vector<evaluation::WordAgreement>> agreement{};                    // per image and slice
    std::vector<std::map<std::pair<std::int64_t, std::int64_t>, ChangeRow>> changes{};  // per image
    std::vector<std::array<std::int64_t, 4>> tissue{};                                  // per image
  };
  void add_words(const LevelOfSlice& slice, Level& level) const;
  void add_changes(const LevelOfSlice& slice, std::int64_t slice_id, Level& level) const;
  LevelExplanation explained(const Level& level) const;
  AgreementRow agreement_row(const std::string& image, const std::vector<evaluation::WordAgreement>& slices) const;

  std::vector<std::string> images_;
  std::int64_t max_positions_;
  std::vector<Level> levels_;
  std::vector<std::int64_t> slice_ids_;
  std::vector<std::string> patients_;
  std::vector<std::size_t> patient_of_slice_;  // index in patients_
};

}  // namespace leda::explanation
