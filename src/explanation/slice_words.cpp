#include "explanation/slice_words.hpp"

#include <map>
#include <nlohmann/json.hpp>

namespace leda::explanation {
namespace {

nlohmann::json json_of(const LevelOfSlice& level) {
  nlohmann::json json = {
      {"exists", level.exists},   {"cell_pixels", level.cell_pixels},  {"rows", level.rows},
      {"columns", level.columns}, {"words", nlohmann::json::array()},  {"agreement", nlohmann::json::array()},
      {"tissue", level.tissue},   {"changes", nlohmann::json::array()}};
  for (const auto& image : level.words) {
    nlohmann::json words = nlohmann::json::array();
    for (const WordTally& word : image) words.push_back({word.token, word.count, word.margin_sum});
    json["words"].push_back(std::move(words));
  }
  for (const evaluation::WordAgreement& agreement : level.agreement) {
    nlohmann::json figures = nlohmann::json::array();
    for (const evaluation::AgreementFigure& figure : evaluation::kAgreementFigures)
      figures.push_back(agreement.*figure.value);
    json["agreement"].push_back(std::move(figures));
  }
  for (const auto& pair : level.changes) {
    nlohmann::json changes = nlohmann::json::array();
    for (const evaluation::ChangedWord& change : pair)
      changes.push_back({change.from, change.to, change.row, change.column});
    json["changes"].push_back(std::move(changes));
  }
  return json;
}

LevelOfSlice level_of(const nlohmann::json& json) {
  LevelOfSlice level{.exists = json.at("exists").get<bool>(),
                     .cell_pixels = json.at("cell_pixels").get<std::int64_t>(),
                     .rows = json.at("rows").get<std::int64_t>(),
                     .columns = json.at("columns").get<std::int64_t>()};
  json.at("tissue").get_to(level.tissue);
  for (const nlohmann::json& image : json.at("words")) {
    std::vector<WordTally>& words = level.words.emplace_back();
    for (const nlohmann::json& word : image)
      words.push_back(
          WordTally{word.at(0).get<std::int64_t>(), word.at(1).get<std::int64_t>(), word.at(2).get<double>()});
  }
  for (const nlohmann::json& figures : json.at("agreement")) {
    evaluation::WordAgreement& agreement = level.agreement.emplace_back();
    for (std::size_t k = 0; k < evaluation::kAgreementFigures.size(); ++k) {
      agreement.*evaluation::kAgreementFigures[k].value = figures.at(k).get<double>();
    }
  }
  for (const nlohmann::json& pair : json.at("changes")) {
    std::vector<evaluation::ChangedWord>& changes = level.changes.emplace_back();
    for (const nlohmann::json& change : pair) {
      const auto numbers = change.get<std::array<std::int64_t, 4>>();
      changes.push_back(evaluation::ChangedWord{numbers[0], numbers[1], numbers[2], numbers[3]});
    }
  }
  return level;
}

}  // namespace

std::vector<WordTally> tally(const evaluation::LevelWords& level) {
  std::map<std::int64_t, WordTally> by_token;
  const auto tokens = level.tokens.accessor<std::int64_t, 2>();
  const auto margins = level.margins.accessor<double, 2>();
  for (std::int64_t r = 0; r < level.rows(); ++r) {
    for (std::int64_t c = 0; c < level.columns(); ++c) {
      WordTally& word = by_token[tokens[r][c]];
      word.token = tokens[r][c];
      ++word.count;
      word.margin_sum += margins[r][c];
    }
  }
  std::vector<WordTally> words;
  for (const auto& [token, word] : by_token) words.push_back(word);
  return words;
}

std::vector<LevelOfSlice> tally_words(const std::vector<std::vector<evaluation::LevelWords>>& images,
                                      const at::Tensor& codebook, const at::Tensor& body, std::int64_t num_top_words) {
  std::vector<LevelOfSlice> levels(images.back().size());
  for (std::size_t l = 0; l < levels.size(); ++l) {
    const evaluation::LevelWords& reference = images.back()[l];
    LevelOfSlice& level = levels[l];
    level.exists = reference.exists;
    if (!reference.exists) continue;
    level.cell_pixels = reference.cell_pixels;
    level.rows = reference.rows();
    level.columns = reference.columns();
    const at::Tensor in_body = evaluation::cells_in_body(body, reference);
    for (std::size_t k = 0; k < images.size(); ++k) {
      level.words.push_back(tally(images[k][l]));
      if (k + 1 == images.size()) continue;
      level.agreement.push_back(word_agreement(images[k][l], reference, codebook, in_body, num_top_words));
      level.changes.push_back(evaluation::changed_words(images[k][l], images[k + 1][l]));
    }
  }
  return levels;
}

std::string to_bytes(const SliceWords& slice) {
  nlohmann::json json = {{"slice_id", slice.slice_id}, {"levels", nlohmann::json::array()}};
  for (const LevelOfSlice& level : slice.levels) json["levels"].push_back(json_of(level));
  const std::vector<std::uint8_t> bytes = nlohmann::json::to_cbor(json);  // unlike text, it knows NaN
  return {bytes.begin(), bytes.end()};
}

SliceWords slice_words_of(const std::string& bytes) {
  const nlohmann::json json = nlohmann::json::from_cbor(bytes);
  SliceWords slice{.slice_id = json.at("slice_id").get<std::int64_t>()};
  for (const nlohmann::json& level : json.at("levels")) slice.levels.push_back(level_of(level));
  return slice;
}

}  // namespace leda::explanation
