// Explains images by the words of a frozen autoencoder, over the slices of a data set on any number of ranks.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "evaluation/image_words.hpp"
#include "explanation/explanation_result.hpp"
#include "language/tissue_words.hpp"
#include "logging/console.hpp"

namespace leda::explanation {

// Which slices of a data set are meant; what is empty does not restrict.
struct SliceChoice {
  std::vector<std::int64_t> slices{};
  std::string patient{};
  std::string series{};
};
// Ascending, each once. Throws ErrorOnAllRanks(options) for ids and names that the data set does not have, and
// where nothing is left.
std::vector<std::int64_t> chosen_slices(const data::ShardCatalogue& catalogue, const SliceChoice& choice);

struct ExplainOptions {
  std::vector<std::int64_t> slice_ids{};                // of the catalogue, ascending
  std::vector<int> levels{};                            // of the pyramid, from 1; empty = all
  std::int64_t num_top_words = 5;                       // compared by the overlap
  std::int64_t num_pictures = 12;                       // slices kept for pictures, evenly spaced
  std::int64_t max_positions = 100;                     // listed of a change
  const language::TissueWords* tissue_words = nullptr;  // none: no agreement with tissue labels
  // H x W in HU to the same; none: no denoised image. Runs on one rank alone.
  std::function<at::Tensor(const at::Tensor& low_dose_hu)> denoise_hu{};
  // Asked as often on every rank, before each round of slices, and of one answer on all: true = give up. May be empty.
  std::function<bool()> should_stop{};
};

// A slice to be drawn: its images in the order of Explanation::images.
struct PictureSlice {
  std::vector<at::Tensor> images_hu{};
  std::vector<std::vector<evaluation::LevelWords>> words{};
};

struct ExplainedSlices {
  Explanation explanation{};
  std::vector<std::int64_t> picture_slice_ids{};    // of all ranks
  std::map<std::int64_t, PictureSlice> pictures{};  // by id, those of this rank only
};

// Collective. Slices are shared out over the ranks; every rank returns the same explanation, to the last bit whatever
// the number of ranks, if each computes with as many threads. Throws ErrorOnAllRanks(options) for levels the pyramid
// lacks, Error(non_finite) for a denoiser that answers with NaN. nullopt where should_stop said so.
std::optional<ExplainedSlices> explain(const data::ShardCatalogue& catalogue, const evaluation::WordReader& reader,
                                       const ExplainOptions& options, distributed::Communicator& communicator,
                                       logging::Console& console);

}  // namespace leda::explanation
