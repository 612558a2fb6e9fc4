#include "language/word_scores.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <tuple>

#include "base/error.hpp"
#include "storage/checksum.hpp"
#include "storage/hdf5_file.hpp"

namespace leda::language {

namespace {

using base::Error;
using base::ExitCode;
using storage::Hdf5File;

constexpr std::string_view kScoresFormat = "leda-word-scores";
constexpr std::int64_t kScoresVersion = 1;
constexpr const char* kScoresRemedy = "make the file anew with data_tools/score_words.py (docs/formats/word_scores.md)";

[[noreturn]] void refuse_scores(const std::string& file, const std::string& fault, const std::string& value,
                                const std::string& why, const std::string& remedy = kScoresRemedy) {
  throw Error(ExitCode::data,
              {.what = fmt::format("word scores {}: {}", file, fault), .value = value, .why = why, .remedy = remedy});
}

std::string text_of(const SliceIdentity& slice) {
  return fmt::format("patient {}, series {}, position {} mm", slice.patient, slice.series, slice.position_mm);
}

void check_format(const Hdf5File& file, const Vocabulary& vocabulary) {
  for (const char* name : {"format", "version", "vocabulary_hash", "model", "lowest_score"}) {
    if (!file.has_attribute(name)) {
      refuse_scores(file.name(), fmt::format("attribute `{}` is missing", name), "",
                    "it holds no word scores, or half");
    }
  }
  const std::string format = file.read_text_attribute("format");
  if (format != kScoresFormat)
    refuse_scores(file.name(), "wrong format", format, fmt::format("word scores say {}", kScoresFormat));
  const std::int64_t version = file.read_integer_attribute("version");
  if (version != kScoresVersion) {
    refuse_scores(file.name(), "unknown format version", fmt::format("{}", version),
                  fmt::format("this program reads version {}", kScoresVersion));
  }
  const std::string hash = file.read_text_attribute("vocabulary_hash");
  if (hash != vocabulary.hash) {
    refuse_scores(file.name(), "made for another vocabulary",
                  fmt::format("hash {}, vocabulary.file has {}", hash, vocabulary.hash),
                  "its tokens would be other words",
                  "score the words of this run's vocabulary with data_tools/score_words.py, or name the other one with "
                  "vocabulary.file");
  }
}

at::Tensor read_array(const Hdf5File& file, const char* name, at::ScalarType type) {
  if (!file.has(name))
    refuse_scores(file.name(), fmt::format("dataset `{}` is missing", name), "", "half of it is not here");
  if (file.type_of(name) != type || file.shape_of(name).size() != 1) {
    refuse_scores(file.name(), fmt::format("wrong type or shape of `{}`", name),
                  fmt::format("{}, {} dimensions", at::toString(file.type_of(name)), file.shape_of(name).size()),
                  fmt::format("an array of {} is needed", at::toString(type)));
  }
  return file.read_tensor(name).contiguous();
}

template <typename Value>
std::span<const Value> values_of(const at::Tensor& array) {
  return {array.const_data_ptr<Value>(), static_cast<std::size_t>(array.numel())};
}

void check_length(const std::string& file, const char* name, std::size_t length, std::size_t expected) {
  if (length == expected) return;
  refuse_scores(file, fmt::format("wrong length of `{}`", name), fmt::format("{} instead of {}", length, expected),
                "its arrays must fit each other");
}

// The file as it stands, its slices in its own order.
struct ScoreTable {
  std::vector<SliceIdentity> slices;
  at::Tensor offsets, tokens, scores;
};

std::vector<SliceIdentity> read_slices(const Hdf5File& file) {
  for (const char* name : {"patient", "series"}) {
    if (!file.has(name))
      refuse_scores(file.name(), fmt::format("dataset `{}` is missing", name), "", "slices have no names");
  }
  const std::vector<std::string> patients = file.read_texts("patient");
  const std::vector<std::string> series = file.read_texts("series");
  const at::Tensor positions = read_array(file, "position_mm", at::kDouble);
  const at::Tensor checksums = read_array(file, "image_checksum", at::kUInt64);
  check_length(file.name(), "series", series.size(), patients.size());
  check_length(file.name(), "position_mm", static_cast<std::size_t>(positions.numel()), patients.size());
  check_length(file.name(), "image_checksum", static_cast<std::size_t>(checksums.numel()), patients.size());
  std::vector<SliceIdentity> slices;
  for (std::size_t row = 0; row < patients.size(); ++row) {
    slices.push_back(
        {patients[row], series[row], values_of<double>(positions)[row], values_of<std::uint64_t>(checksums)[row]});
  }
  return slices;
}

void check_offsets(const std::string& file, std::span<const std::int64_t> offsets, std::size_t num_words) {
  for (std::size_t row = 0; row + 1 < offsets.size(); ++row) {
    if (offsets[row] < offsets[row + 1]) continue;
    refuse_scores(file, "a slice without words, or `offsets` that do not ascend", fmt::format("row {}", row),
                  "the best word of a slice scores 1");
  }
  if (offsets.front() != 0 || offsets.back() != static_cast<std::int64_t>(num_words)) {
    refuse_scores(file, "`offsets` do not span the words", fmt::format("{} to {}", offsets.front(), offsets.back()),
                  fmt::format("0 to {} is needed", num_words));
  }
}

// The words of one slice.
void check_words(const std::string& file, const SliceIdentity& slice, std::span<const std::int32_t> tokens,
                 std::span<const float> scores, double lowest_score, std::int64_t vocabulary_size) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocabulary_size) {
      refuse_scores(file, "a token that is no word of the vocabulary",
                    fmt::format("{}, of {}", tokens[i], text_of(slice)),
                    fmt::format("tokens go from 0 to {}", vocabulary_size - 1));
    }
    const bool descends = i == 0 ? scores[i] == 1.0F : scores[i] <= scores[i - 1];
    // Written so that NaN fails.
    if (!(scores[i] >= lowest_score) || !descends) {
      refuse_scores(file, "a score out of order or range", fmt::format("{}, of {}", scores[i], text_of(slice)),
                    fmt::format("they descend from 1, the best word's, to {} at least", lowest_score));
    }
  }
  std::vector<std::int32_t> sorted(tokens.begin(), tokens.end());
  std::ranges::sort(sorted);
  if (const auto twice = std::ranges::adjacent_find(sorted); twice != sorted.end()) {
    refuse_scores(file, "a token that appears twice", fmt::format("{}, of {}", *twice, text_of(slice)),
                  "its word would count twice");
  }
}

ScoreTable read_table(const Hdf5File& file, double lowest_score, std::int64_t vocabulary_size) {
  ScoreTable table{read_slices(file), read_array(file, "offsets", at::kLong), read_array(file, "tokens", at::kInt),
                   read_array(file, "scores", at::kFloat)};
  const auto offsets = values_of<std::int64_t>(table.offsets);
  const auto tokens = values_of<std::int32_t>(table.tokens);
  const auto scores = values_of<float>(table.scores);
  check_length(file.name(), "offsets", offsets.size(), table.slices.size() + 1);
  check_length(file.name(), "scores", scores.size(), tokens.size());
  check_offsets(file.name(), offsets, tokens.size());
  for (std::size_t row = 0; row < table.slices.size(); ++row) {
    const auto first = static_cast<std::size_t>(offsets[row]);
    const auto count = static_cast<std::size_t>(offsets[row + 1]) - first;
    check_words(file.name(), table.slices[row], tokens.subspan(first, count), scores.subspan(first, count),
                lowest_score, vocabulary_size);
  }
  return table;
}

using SliceKey = std::tuple<std::string, std::string, double>;
SliceKey key_of(const SliceIdentity& slice) { return {slice.patient, slice.series, slice.position_mm}; }

std::map<SliceKey, std::size_t> rows_by_slice(const std::string& file, const std::vector<SliceIdentity>& slices) {
  std::map<SliceKey, std::size_t> rows;
  for (std::size_t row = 0; row < slices.size(); ++row) {
    if (rows.emplace(key_of(slices[row]), row).second) continue;
    refuse_scores(file, "a slice appears twice", text_of(slices[row]), "it is not clear which words are its own");
  }
  return rows;
}

std::size_t row_of(const std::string& file, const std::map<SliceKey, std::size_t>& rows, const ScoreTable& table,
                   const SliceIdentity& slice) {
  const std::string why = "each training slice needs its own candidate words";
  const std::string remedy = "score this data set with data_tools/score_words.py, or name its file with words.scores";
  const auto found = rows.find(key_of(slice));
  if (found == rows.end()) {
    refuse_scores(file, "a slice of the data set is not among its slices", text_of(slice),
                  fmt::format("{}; the file holds {} slices, the first is {}", why, table.slices.size(),
                              table.slices.empty() ? "absent" : text_of(table.slices.front())),
                  remedy);
  }
  const std::uint64_t checksum = table.slices[found->second].image_checksum;
  if (checksum != slice.image_checksum) {
    refuse_scores(file, "a slice of the data set bears the name of another image",
                  fmt::format("{}: image checksum {}, in the shard {}", text_of(slice),
                              storage::checksum_text(checksum), storage::checksum_text(slice.image_checksum)),
                  why, remedy);
  }
  return found->second;
}

}  // namespace

WordScores WordScores::load(const std::string& name, const Vocabulary& vocabulary,
                            std::span<const SliceIdentity> slices) {
  if (!std::filesystem::is_regular_file(name)) {
    refuse_scores(name, "no such file", name, "candidate words stand in it (words.source = scores)",
                  "make it with data_tools/score_words.py, or set words.source = tissue");
  }
  const Hdf5File file = Hdf5File::open_read(name);
  check_format(file, vocabulary);
  WordScores result;
  result.model_ = file.read_text_attribute("model");
  result.lowest_score_ = file.read_number_attribute("lowest_score");
  const ScoreTable table = read_table(file, result.lowest_score_, vocabulary.size());
  const std::map<SliceKey, std::size_t> rows = rows_by_slice(name, table.slices);
  const auto offsets = values_of<std::int64_t>(table.offsets);
  const auto tokens = values_of<std::int32_t>(table.tokens);
  const auto scores = values_of<float>(table.scores);
  for (const SliceIdentity& slice : slices) {
    const std::size_t row = row_of(name, rows, table, slice);
    result.tokens_.insert(result.tokens_.end(), tokens.begin() + offsets[row], tokens.begin() + offsets[row + 1]);
    result.scores_.insert(result.scores_.end(), scores.begin() + offsets[row], scores.begin() + offsets[row + 1]);
    result.offsets_.push_back(static_cast<std::int64_t>(result.tokens_.size()));
  }
  return result;
}

std::span<const std::int32_t> WordScores::words_of(std::int64_t slice, double threshold) const {
  const std::int64_t first = offsets_.at(static_cast<std::size_t>(slice));
  const std::int64_t end = offsets_.at(static_cast<std::size_t>(slice) + 1);
  const auto below = std::partition_point(scores_.begin() + first, scores_.begin() + end,
                                          [&](float score) { return static_cast<double>(score) >= threshold; });
  return {tokens_.data() + first, static_cast<std::size_t>(below - (scores_.begin() + first))};
}

std::string WordScores::hash() const {
  storage::RunningChecksum sum;
  sum.update(std::as_bytes(std::span(offsets_)));
  sum.update(std::as_bytes(std::span(tokens_)));
  sum.update(std::as_bytes(std::span(scores_)));
  return storage::checksum_text(sum.value());
}

}  // namespace leda::language
