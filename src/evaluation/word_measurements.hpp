// The agreement of words as figures of an evaluation: of each candidate image with each reference, slice by slice. One
// thread; a rank measures its own slices, and figures() is summed over ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "evaluation/evaluation_result.hpp"
#include "evaluation/image_words.hpp"

namespace leda::evaluation {

class WordMeasurements {
 public:
  // Without a reader nothing is measured. The reader must outlive the object.
  WordMeasurements(const WordReader* reader, std::int64_t num_candidates, std::int64_t num_slices,
                   std::int64_t num_references, std::int64_t num_top_words);

  bool is_wanted() const { return reader_ != nullptr; }
  // Images H x W in HU; body: evaluation::body_mask. Calls of add() until the next one are of this slice.
  void start_slice(std::int64_t slice_id, const std::vector<at::Tensor>& references_hu, const at::Tensor& body);
  void add(std::int64_t candidate, const at::Tensor& image_hu);

  // [candidate, slice, reference, level, 1 + figure], float64; the first is 1 where the level exists and was measured.
  at::Tensor figures() const { return figures_; }
  // The levels that exist, of a row of the table whose seeds are `candidates`; empty without a reader.
  std::vector<LevelAgreement> levels(const std::vector<std::int64_t>& candidates, std::int64_t reference,
                                     const std::vector<std::string>& patients,
                                     const std::vector<std::vector<std::int64_t>>& patient_slice_ids) const;

 private:
  WordAgreement figure(std::int64_t candidate, std::int64_t slice_id, std::int64_t reference, std::int64_t level) const;

  const WordReader* reader_;
  std::int64_t num_top_words_;
  at::Tensor figures_;
  std::int64_t slice_id_ = 0;
  std::vector<std::vector<LevelWords>> references_;
  std::vector<at::Tensor> in_body_;  // per level
};

}  // namespace leda::evaluation
