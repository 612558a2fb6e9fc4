#include "training/stages/word_map_check.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/zeros.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "base/keyed_random.hpp"
#include "ct/tissue.hpp"
#include "data/loading/slice_loader.hpp"
#include "data/shards/rank_walk.hpp"
#include "language/tissue_match.hpp"

namespace leda::training {
namespace {

constexpr std::uint64_t kShuffleKey = 0x776f7264;

// For each token the one whose word it gets: those that `is_moved` have changed places at random (Fisher and Yates).
at::Tensor shuffled_tokens(const at::Tensor& is_moved, std::uint64_t seed) {
  at::Tensor token_of = at::arange(is_moved.size(0), at::kLong);
  std::int64_t* const token = token_of.mutable_data_ptr<std::int64_t>();
  std::vector<std::int64_t> places;
  for (std::int64_t place = 0; place < is_moved.size(0); ++place) {
    if (is_moved[place].item<bool>()) places.push_back(place);
  }
  base::KeyedRandom random({kShuffleKey, seed});
  for (std::size_t i = places.size(); i > 1; --i) std::swap(token[places[i - 1]], token[places[random.below(i)]]);
  return token_of;
}

WordMapScore empty_score(std::string name, std::size_t num_levels) {
  WordMapScore score{std::move(name), {}};
  for (std::size_t level = 0; level < num_levels; ++level) {
    score.counts.push_back(at::zeros({ct::kNumTissues, 2}, at::kLong));
  }
  return score;
}

std::vector<language::LevelGrid> grids_of(const models::QuantizedLatent& tokens) {
  std::vector<language::LevelGrid> grids;
  for (const models::LevelTokens& level : tokens.levels) {
    grids.push_back(level.exists ? language::LevelGrid{level.tokens.size(1), level.tokens.size(2)}
                                 : language::LevelGrid{});
  }
  return grids;
}

// One reading of tokens: as they are, or each by another's word.
struct Reading {
  WordMapScore score;
  bool is_of_untrained = false;
  at::Tensor token_of{};  // [V]; undefined: as they are

  void add(const language::TissueWords& words, const models::QuantizedLatent& tokens,
           const std::vector<language::LevelCandidates>& cells) {
    for (std::size_t level = 0; level < cells.size(); ++level) {
      if (!cells[level].exists) continue;
      at::Tensor read = tokens.levels[level].tokens.cpu();
      if (token_of.defined()) read = token_of.index_select(0, read.reshape({-1})).reshape(read.sizes());
      score.counts[level] += language::pure_match_counts(words, read, cells[level]);
    }
  }
};

}  // namespace

std::vector<WordMapScore> score_word_maps(const models::Autoencoder& autoencoder,
                                          const models::TensorSettings& settings, const language::TissueWords& words,
                                          language::CandidateOptions candidates, const ct::Window& window,
                                          const data::ShardCatalogue& catalogue,
                                          distributed::Communicator& communicator) {
  const at::NoGradGuard no_grad;
  const models::Autoencoder untrained(autoencoder.options(), autoencoder.codebook(), settings);
  // What is counted depends on no option of the candidates: every pixel counts alike.
  candidates.placement = language::CandidatePlacement::position;
  candidates.tissue_weights.clear();
  const std::vector<int>& strides = autoencoder.options().strides;
  const language::CandidateWords cell_words(words, autoencoder.codebook().cpu(), candidates, strides,
                                            autoencoder.downsampling());
  const at::Tensor is_term = words.membership().any(0);
  std::vector<Reading> readings;
  readings.push_back({empty_score("trained", strides.size())});
  readings.push_back({empty_score("untrained encoder", strides.size()), true});
  readings.push_back({empty_score("shuffled codebook", strides.size()), false,
                      shuffled_tokens(is_term.logical_or(is_term.logical_not()), settings.seed)});
  readings.push_back(
      {empty_score("shuffled tissue words", strides.size()), false, shuffled_tokens(is_term, settings.seed)});

  const data::SliceLoader loader(catalogue, {.window = window, .dtype = settings.dtype, .needs_tissue = true});
  data::walk_by_rank(catalogue.num_slices(), communicator, {.activity = "word maps, slice"}, [&](std::int64_t id) {
    const data::SampleRef sample{0, id};
    const ct::ImageBatch batch = loader.load({&sample, 1});
    const at::Tensor normal_dose = batch.normal_dose.to(settings.device);
    const auto tokens_of = [&](const models::Autoencoder& network) {
      return network.quantize(network.encode(normal_dose), {.log_partition = false, .gradients = false});
    };
    const models::QuantizedLatent trained_tokens = tokens_of(autoencoder);
    const models::QuantizedLatent untrained_tokens = tokens_of(untrained);
    const auto cells = cell_words.of_tissue_maps(batch.tissue, grids_of(trained_tokens));
    for (Reading& reading : readings) {
      reading.add(words, reading.is_of_untrained ? untrained_tokens : trained_tokens, cells);
    }
  });
  std::vector<WordMapScore> scores;
  for (Reading& reading : readings) {
    for (at::Tensor& counts : reading.score.counts) distributed::all_reduce(communicator, counts);
    scores.push_back(std::move(reading.score));
  }
  return scores;
}

std::string word_maps_json(const std::vector<WordMapScore>& scores) {
  nlohmann::json rows = nlohmann::json::array();
  for (const WordMapScore& score : scores) {
    nlohmann::json levels = nlohmann::json::array();
    for (const at::Tensor& counts : score.counts) {
      nlohmann::json tissues = nlohmann::json::object();
      for (const ct::TissueRange& range : ct::kTissues) {
        const at::Tensor count = counts[static_cast<std::int64_t>(range.tissue)];
        tissues[std::string(range.name)] = {{"matches", count[0].item<std::int64_t>()},
                                            {"cells", count[1].item<std::int64_t>()}};
      }
      levels.push_back({{"balanced_match", language::balanced_match(counts).share}, {"tissues", tissues}});
    }
    rows.push_back({{"name", score.name}, {"levels", levels}});
  }
  return nlohmann::json{{"pure_share", language::kMinPurity}, {"min_cells", language::kMinPositions}, {"rows", rows}}
             .dump(2) +
         "\n";
}

}  // namespace leda::training
