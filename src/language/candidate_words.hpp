// Candidate words: for every position of every pyramid level, the words the autoencoder's token should be near.
// They come from tissue maps, without a vision-language model (docs/methods/candidate_words.md). The semantic loss
// needs only their mean embedding and mean squared norm (losses/semantic_loss.hpp). Immutable; any thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "language/contrast.hpp"
#include "language/tissue_words.hpp"

namespace leda::language {

// tissue: words of HU ranges. scores: those of a file that a vision-language model made (language/scored_candidates).
enum class CandidateSource { tissue, scores };
constexpr std::array<std::string_view, 2> names_of(CandidateSource) { return {"tissue", "scores"}; }

// position: the words of the tissue that has most pixels in the position's own cell.
// image: the words of all tissues whose share of the slice, divided by the largest share, reaches the level's
// threshold.
enum class CandidatePlacement { position, image };
constexpr std::array<std::string_view, 2> names_of(CandidatePlacement) { return {"position", "image"}; }

struct CandidateOptions {
  CandidateSource source = CandidateSource::tissue;
  std::string scores;               // file, source scores
  bool restrict_to_tissue = false;  // source scores: of each position, the terms of its cell's tissue alone
  CandidatePlacement placement = CandidatePlacement::position;
  std::vector<double> thresholds{0.95, 0.90, 0.80};  // per level, placement image or source scores
  double air_weight = 0.2;  // counts air's pixels at all levels but the last, placement position
  // Of placement position: how much a pixel of each tissue counts in deciding its cell's, in the order of ct::Tissue;
  // empty: 1 each. Above 1 for the thin ones, which seldom have most of a cell.
  std::vector<double> tissue_weights{};
  // Of placement position: a cell's weight in the loss is (cells of its tissue in the slice and level)^-balance, scaled
  // to a mean of 1. 0: all cells alike; 1: all tissues of the slice alike.
  double balance = 0.0;
  Contrast contrast = Contrast::enhanced;
};

// Positions of a pyramid level on a given map; 0 x 0 where the level is absent.
struct LevelGrid {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

struct LevelCandidates {
  bool exists = false;          // the rest is undefined where the level is absent
  at::Tensor mean_embedding;    // B x rows x columns x C; placement image: B x 1 x 1 x C
  at::Tensor mean_square_norm;  // B x rows x columns; placement image: B x 1 x 1
  at::Tensor tissue;            // B x rows x columns, uint8: the tissue with most pixels in the cell (weighted)
  at::Tensor purity;            // B x rows x columns, float64: that tissue's share of the cell's pixels
  at::Tensor weight{};          // B x rows x columns, mean 1 per image; undefined where all positions count alike
};

class CandidateWords {
 public:
  // codebook: V x C, whose type and device the candidates get. strides: of the levels, coarse to fine, in positions of
  // the finest level; downsampling: pixels of the image per such position. Throws
  // ErrorOnAllRanks(options) for an unknown
  // placement or contrast, a threshold outside (0, 1] or missing, a weight below 0, weights not one per tissue.
  CandidateWords(const TissueWords& words, const at::Tensor& codebook, CandidateOptions options,
                 std::vector<int> strides, int downsampling);

  // tissue: B x H x W, uint8 labels, augmented like the image. Position (r, c) of a level with stride s owns the pixels
  // of rows [r s d, (r+1) s d) and columns [c s d, (c+1) s d), d = downsampling, cut off at the image's border.
  // Between equal counts the lower label wins.
  std::vector<LevelCandidates> of_tissue_maps(const at::Tensor& tissue, std::span<const LevelGrid> grids) const;

 private:
  at::Tensor position_weights(const at::Tensor& cell_tissue) const;
  void place_by_position(LevelCandidates& level) const;
  void place_by_image(const at::Tensor& pixels, double threshold, LevelCandidates& level) const;

  CandidateOptions options_;
  std::vector<int> strides_;
  int downsampling_;
  at::ScalarType result_type_ = at::kFloat;
  // Per tissue, over its words, in double: number, sum of the embeddings, sum of their squared norms.
  at::Tensor num_words_;         // T
  at::Tensor embedding_sums_;    // T x C
  at::Tensor square_norm_sums_;  // T
};

}  // namespace leda::language
