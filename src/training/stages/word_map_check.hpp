// What an autoencoder's word maps are worth, measured over a data set with known tissue: language/tissue_match at every
// level of the pyramid, and beside it controls that must do worse. Free functions.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "ct/hounsfield.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "language/candidate_words.hpp"
#include "models/autoencoder.hpp"

namespace leda::training {

struct WordMapScore {
  std::string name;
  std::vector<at::Tensor> counts;  // per level, coarse to fine: language::pure_match_counts of all slices, on the CPU
};

// The trained autoencoder's, that of its untrained start, and the trained one's tokens read in two shuffled
// vocabularies, one of all words and one in which only terms of tissues have changed places. `settings` are those the
// autoencoder was made with: their seed makes the untrained one, and the shuffles. Of `candidates` what decides a
// cell's tissue is taken. Every rank reads its share of the slices. Collective.
std::vector<WordMapScore> score_word_maps(const models::Autoencoder& autoencoder,
                                          const models::TensorSettings& settings, const language::TissueWords& words,
                                          language::CandidateOptions candidates, const ct::Window& window,
                                          const data::ShardCatalogue& catalogue,
                                          distributed::Communicator& communicator);

// The text of word_maps.json (docs/formats/word_maps.md).
std::string word_maps_json(const std::vector<WordMapScore>& scores);

}  // namespace leda::training
