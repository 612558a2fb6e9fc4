// A word score file for three slices of two patients, each part replaceable by a wrong one.
#pragma once

#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>
#include <vector>

#include "language/word_scores.hpp"
#include "storage/hdf5_file.hpp"

namespace leda::test {

struct WordScoreContent {
  std::string format = "leda-word-scores";
  std::int64_t version = 1;
  std::string vocabulary_hash = "";
  double lowest_score = 0.5;
  std::vector<std::string> patients{"a", "a", "b"};
  std::vector<std::string> series{"one", "one", "one"};
  std::vector<double> positions_mm{0.0, 2.5, 0.0};
  std::vector<std::uint64_t> checksums{11, 12, 1ULL << 63};
  std::vector<std::int64_t> offsets{0, 3, 4, 6};
  std::vector<std::int32_t> tokens{7, 3, 0, 5, 1, 4};
  std::vector<float> scores{1.0F, 0.875F, 0.5F, 1.0F, 1.0F, 0.75F};
  std::string left_out = "";  // attribute or dataset not written
};

template <typename Value>
at::Tensor array_of(const std::vector<Value>& values, at::ScalarType type) {
  const at::Tensor array = at::empty({static_cast<std::int64_t>(values.size())}, at::TensorOptions(type));
  std::ranges::copy(values, array.mutable_data_ptr<Value>());
  return array;
}

inline void write_word_scores(const std::string& path, const WordScoreContent& content) {
  storage::Hdf5File file = storage::Hdf5File::create(path);
  const auto wanted = [&](const char* name) { return content.left_out != name; };
  if (wanted("format")) file.write_text_attribute("format", content.format);
  if (wanted("version")) file.write_integer_attribute("version", content.version);
  if (wanted("vocabulary_hash")) file.write_text_attribute("vocabulary_hash", content.vocabulary_hash);
  if (wanted("model")) file.write_text_attribute("model", "a table");
  if (wanted("lowest_score")) file.write_number_attribute("lowest_score", content.lowest_score);
  if (wanted("patient")) file.write_texts("patient", content.patients);
  if (wanted("series")) file.write_texts("series", content.series);
  if (wanted("position_mm")) file.write_tensor("position_mm", array_of(content.positions_mm, at::kDouble));
  if (wanted("image_checksum")) file.write_tensor("image_checksum", array_of(content.checksums, at::kUInt64));
  if (wanted("offsets")) file.write_tensor("offsets", array_of(content.offsets, at::kLong));
  if (wanted("tokens")) file.write_tensor("tokens", array_of(content.tokens, at::kInt));
  if (wanted("scores")) file.write_tensor("scores", array_of(content.scores, at::kFloat));
  file.close();
}

inline std::vector<language::SliceIdentity> slices_of(const WordScoreContent& content) {
  std::vector<language::SliceIdentity> slices;
  for (std::size_t row = 0; row < content.patients.size(); ++row) {
    slices.push_back({content.patients[row], content.series[row], content.positions_mm[row], content.checksums[row]});
  }
  return slices;
}

}  // namespace leda::test
