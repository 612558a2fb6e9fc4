// Candidate words from word scores (LEDA, arXiv 2403.06128: words a vision-language model finds in the image), for the
// image as a whole or, restricted by tissue, for each position: docs/methods/candidate_words.md. A function of the
// slice alone, whatever batch it is in. Immutable; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "language/candidate_words.hpp"
#include "language/tissue_words.hpp"
#include "language/word_scores.hpp"

namespace leda::language {

class ScoredCandidates {
 public:
  // codebook: V x C, whose type and device the candidates get. Throws ErrorOnAllRanks(options) unless
  // options.thresholds has one number for each of `num_levels`, from scores.lowest_score() to 1.
  ScoredCandidates(const TissueWords& words, const at::Tensor& codebook, const CandidateOptions& options,
                   std::size_t num_levels, WordScores scores);

  // Gives `levels`, which CandidateWords made of the slices' tissue maps as augmented, the candidates of the slices'
  // scores in place of those of their tissues. slice_ids: B rows of the word scores. Restricted to tissue: at each
  // position the terms of its cell's tissue whose score reaches the level's threshold, or, where none does, all of
  // them. Otherwise one list for all positions (B x 1 x 1 x C): all words whose score reaches the threshold.
  void place(std::span<const std::int64_t> slice_ids, std::vector<LevelCandidates>& levels) const;

  const WordScores& scores() const { return scores_; }

 private:
  void place_by_image(std::span<const std::int64_t> slice_ids, double threshold, LevelCandidates& level) const;
  void place_by_tissue(std::span<const std::int64_t> slice_ids, double threshold, LevelCandidates& level) const;
  // [kNumTissues, terms], 1 or 0, double, CPU: of each tissue the terms that are candidates in the slice.
  at::Tensor chosen_terms(std::int64_t slice_id, double threshold) const;

  at::Tensor codebook_;
  std::vector<double> thresholds_;
  bool restrict_to_tissue_;
  WordScores scores_;
  // All tissues' terms in one row, tissue after tissue.
  std::vector<std::int64_t> term_of_token_;  // V; -1 where the word is no term
  std::vector<std::int64_t> tissue_of_term_;
  at::Tensor term_embeddings_;    // terms x C, double
  at::Tensor term_square_norms_;  // terms, double
};

}  // namespace leda::language
