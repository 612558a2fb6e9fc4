#include "explanation/explanation_pictures.hpp"

#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "explanation/slice_words.hpp"
#include "pictures/png_file.hpp"
#include "pictures/word_map.hpp"

namespace leda::explanation {
namespace {

using pictures::MapWord;
using pictures::WordMapPanel;

// Gives each key its place in a panel's list of words, made when it is first asked for.
template <typename Key>
class WordList {
 public:
  template <typename MakeWord>
  std::int64_t index(const Key& key, const MakeWord& make_word) {
    const auto [place, is_new] = places_.emplace(key, static_cast<std::int64_t>(words_.size()));
    if (is_new) words_.push_back(make_word());
    return place->second;
  }
  std::vector<MapWord> take() { return std::move(words_); }

 private:
  std::map<Key, std::int64_t> places_;
  std::vector<MapWord> words_;
};

std::string word_of(const language::Vocabulary& vocabulary, std::int64_t token) {
  return vocabulary.words.at(static_cast<std::size_t>(token));
}

WordMapPanel word_panel(const std::string& label, const at::Tensor& image_hu, const evaluation::LevelWords& level,
                        const language::Vocabulary& vocabulary, const WordNumbers& numbers) {
  WordMapPanel panel{.label = label, .image_hu = image_hu, .cell_pixels = level.cell_pixels};
  panel.cells = at::full({level.rows(), level.columns()}, -1, at::kLong);
  auto cells = panel.cells.accessor<std::int64_t, 2>();
  const auto tokens = level.tokens.accessor<std::int64_t, 2>();
  WordList<std::int64_t> words;
  for (std::int64_t r = 0; r < level.rows(); ++r) {
    for (std::int64_t c = 0; c < level.columns(); ++c) {
      const std::int64_t token = tokens[r][c];
      cells[r][c] = words.index(token, [&] {
        return MapWord{word_of(vocabulary, token), numbers.number(token), numbers.colour(token)};
      });
    }
  }
  panel.words = words.take();
  return panel;
}

std::string agreement_text(const evaluation::LevelWords& level, const evaluation::LevelWords& reference) {
  const std::size_t num_changed = evaluation::changed_words(level, reference).size();
  const auto num_positions = static_cast<double>(level.tokens.numel());
  return fmt::format("{:.1f} % of words as in the normal dose",
                     100.0 * (1.0 - static_cast<double>(num_changed) / num_positions));
}

WordMapPanel change_panel(const std::string& from_name, const std::string& to_name, const at::Tensor& image_hu,
                          const evaluation::LevelWords& from, const evaluation::LevelWords& to,
                          const language::Vocabulary& vocabulary, const WordNumbers& numbers) {
  const std::vector<evaluation::ChangedWord> changes = evaluation::changed_words(from, to);
  WordMapPanel panel{
      .label = fmt::format("changed: {} > {}", from_name, to_name),
      .detail = fmt::format("{} of {} words; drawn on the {}", changes.size(), to.tokens.numel(), to_name),
      .image_hu = image_hu,
      .cell_pixels = to.cell_pixels};
  panel.cells = at::full({to.rows(), to.columns()}, -1, at::kLong);
  auto cells = panel.cells.accessor<std::int64_t, 2>();
  WordList<std::pair<std::int64_t, std::int64_t>> words;
  for (const evaluation::ChangedWord& change : changes) {
    cells[change.row][change.column] = words.index({change.from, change.to}, [&] {
      return MapWord{fmt::format("{}>{}", word_of(vocabulary, change.from), word_of(vocabulary, change.to)),
                     numbers.number(change.to), numbers.colour(change.to)};
    });
  }
  panel.words = words.take();
  return panel;
}

// The slice's own most frequent words and all that have a number, which the map may show alone; with its own counts.
pictures::Legend legend_of(const PictureSlice& slice, const Explanation& explanation, std::size_t level,
                           const language::Vocabulary& vocabulary, const WordNumbers& numbers,
                           std::int64_t legend_length) {
  std::map<std::int64_t, std::pair<std::vector<std::int64_t>, double>> found;  // counts per image, margins of the last
  for (std::size_t image = 0; image < slice.words.size(); ++image) {
    const evaluation::LevelWords& words = slice.words[image][level];
    for (const WordTally& word : tally(words)) {
      auto& [counts, margin_sum] = found[word.token];
      counts.resize(slice.words.size());
      counts[image] = word.count;
      if (image + 1 == slice.words.size()) margin_sum = word.margin_sum;
    }
  }
  std::vector<WordRow> rows;
  for (const auto& [token, sums] : found) {
    const auto& [counts, margin_sum] = sums;
    rows.push_back({token, counts, {counts.back() > 0 ? margin_sum / static_cast<double>(counts.back()) : -1.0}});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.total() > b.total(); });
  pictures::Legend legend{.heads = {"", "word"}, .letters = {2, 14}, .rows = {}};
  for (const std::string& image : explanation.images) {
    legend.heads.push_back(image == "normal dose" ? "normal" : image);
    legend.letters.push_back(8);
  }
  legend.heads.emplace_back("margin");
  legend.letters.push_back(6);
  for (std::size_t k = 0; k < rows.size(); ++k) {
    const WordRow& row = rows[k];
    if (k >= static_cast<std::size_t>(legend_length) && numbers.number(row.token).empty()) continue;
    pictures::LegendRow line{numbers.colour(row.token), {numbers.number(row.token), word_of(vocabulary, row.token)}};
    for (const std::int64_t count : row.counts) line.texts.push_back(fmt::format("{:>6}", count));
    line.texts.push_back(row.margins[0] < 0.0 ? "-" : fmt::format("{:.3g}", row.margins[0]));
    legend.rows.push_back(std::move(line));
  }
  return legend;
}

std::string name_of(std::int64_t slice_id, const data::ShardCatalogue& catalogue) {
  const data::SliceRecord& record = catalogue.record(slice_id);
  return fmt::format("slice {}, {}, {}", slice_id, record.patient, record.series);
}

// explain() deals slices out to the ranks in turn.
int owner_of(std::int64_t slice_id, const Explanation& explanation, int num_ranks) {
  const std::vector<std::int64_t>& ids = explanation.slice_ids;
  return static_cast<int>((std::lower_bound(ids.begin(), ids.end(), slice_id) - ids.begin()) % num_ranks);
}

}  // namespace

at::Tensor draw_slice_words(const PictureSlice& slice, const Explanation& explanation, int level,
                            const language::Vocabulary& vocabulary, const WordNumbers& numbers,
                            const ExplanationDisplay& display, const std::string& title) {
  const auto l = static_cast<std::size_t>(level - 1);
  const evaluation::LevelWords& reference = slice.words.back()[l];
  pictures::WordMapPicture picture{.title = fmt::format("{}, level {}", title, level), .window = display.window};
  picture.detail = fmt::format("{} x {} words, one for each {} x {} pixels; CT window {:g} to {:g} HU",
                               reference.rows(), reference.columns(), reference.cell_pixels, reference.cell_pixels,
                               display.window.low_hu, display.window.high_hu);
  std::vector<WordMapPanel> maps, changes;
  for (std::size_t k = 0; k < slice.images_hu.size(); ++k) {
    const evaluation::LevelWords& words = slice.words[k][l];
    maps.push_back(word_panel(explanation.images[k], slice.images_hu[k], words, vocabulary, numbers));
    if (k + 1 == slice.images_hu.size()) break;
    maps.back().detail = agreement_text(words, reference);
    changes.push_back(change_panel(explanation.images[k], explanation.images[k + 1], slice.images_hu[k + 1], words,
                                   slice.words[k + 1][l], vocabulary, numbers));
  }
  picture.rows.push_back(std::move(maps));
  if (!changes.empty()) picture.rows.push_back(std::move(changes));
  picture.legend = legend_of(slice, explanation, l, vocabulary, numbers, display.legend_length);
  return pictures::draw_word_maps(picture);
}

std::optional<std::vector<ExplanationPicture>> draw_explanation(
    const ExplainedSlices& slices, const data::ShardCatalogue& catalogue, const language::Vocabulary& vocabulary,
    const WordNumbers& numbers, const ExplanationDisplay& display, distributed::Communicator& communicator,
    const std::function<bool()>& should_stop) {
  const Explanation& explanation = slices.explanation;
  std::vector<std::int64_t> owned(static_cast<std::size_t>(communicator.size())), mine;  // numbers by rank; own ids
  for (const std::int64_t id : slices.picture_slice_ids) {
    const int owner = owner_of(id, explanation, communicator.size());
    ++owned[static_cast<std::size_t>(owner)];
    if (owner == communicator.rank()) mine.push_back(id);
  }
  // In rounds, so that every rank asks as often whether to stop.
  const auto num_rounds = static_cast<std::size_t>(*std::max_element(owned.begin(), owned.end()));
  std::map<std::int64_t, std::vector<std::string>> drawn;  // this rank's slices, level by level
  for (std::size_t round = 0; round < num_rounds; ++round) {
    if (should_stop && should_stop()) return std::nullopt;
    if (round >= mine.size()) continue;
    const std::int64_t id = mine[round];
    communicator.note(fmt::format("explanation, pictures of slice {}", id));
    for (const LevelExplanation& level : explanation.levels) {
      drawn[id].push_back(pictures::encode_png(draw_slice_words(slices.pictures.at(id), explanation, level.level,
                                                                vocabulary, numbers, display, name_of(id, catalogue))));
    }
  }
  // An answer is of the question before: the second one knows of signals during the last round.
  if (should_stop && (should_stop() || should_stop())) return std::nullopt;
  std::vector<ExplanationPicture> pictures;
  for (const std::int64_t id : slices.picture_slice_ids) {
    const int owner = owner_of(id, explanation, communicator.size());
    for (std::size_t l = 0; l < explanation.levels.size(); ++l) {
      const int level = explanation.levels[l].level;
      const std::string file_name = fmt::format("slice_{:06}_level_{}.png", id, level);
      pictures.push_back({id, level, name_of(id, catalogue), file_name, ""});
      const std::string own = owner == communicator.rank() ? drawn.at(id)[l] : std::string();
      pictures.back().png = distributed::broadcast_text(communicator, own, owner);
    }
  }
  return pictures;
}

}  // namespace leda::explanation
