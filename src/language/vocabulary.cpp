#include "language/vocabulary.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <fmt/format.h>

#include <bit>
#include <filesystem>
#include <span>
#include <string_view>
#include <unordered_map>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "language/embedded_vocabulary.hpp"
#include "storage/checksum.hpp"
#include "storage/hdf5_file.hpp"

namespace leda::language {

namespace {

using base::Error;
using base::ExitCode;
using storage::Hdf5File;

static_assert(std::endian::native == std::endian::little, "vocabulary_hash reads float32 values in place");

constexpr std::string_view kFormat = "leda-vocabulary";
constexpr const char* kRemedy =
    "use vocabulary.file = builtin, or make the file anew (docs/formats/vocabulary.md describes it)";

[[noreturn]] void refuse_vocabulary(const std::string& file, const std::string& fault, const std::string& value,
                                    const std::string& why) {
  throw Error(ExitCode::data,
              {.what = fmt::format("vocabulary {}: {}", file, fault), .value = value, .why = why, .remedy = kRemedy});
}

Hdf5File open_vocabulary(const std::string& file) {
  if (file == "builtin") return Hdf5File::from_memory(embedded_vocabulary(), "(builtin)");
  if (!std::filesystem::exists(file)) refuse_vocabulary(file, "no such file", file, "stage 1 needs its words");
  return Hdf5File::open_read(file);
}

// The version of the format.
std::int64_t check_format(const Hdf5File& file) {
  for (const char* name : {"format", "version", "source", "licence", "hash"}) {
    if (!file.has_attribute(name)) {
      refuse_vocabulary(file.name(), fmt::format("attribute `{}` is missing", name), "",
                        "it is no vocabulary, or half of one");
    }
  }
  const std::string format = file.read_text_attribute("format");
  if (format != kFormat) {
    refuse_vocabulary(file.name(), "wrong format", format, fmt::format("a vocabulary says {}", kFormat));
  }
  const std::int64_t version = file.read_integer_attribute("version");
  if (version < 1 || version > kVocabularyVersion) {
    refuse_vocabulary(file.name(), "unknown format version", fmt::format("{}", version),
                      fmt::format("this program reads versions 1 to {}", kVocabularyVersion));
  }
  for (const char* name : {"words", "embeddings"}) {
    if (!file.has(name))
      refuse_vocabulary(file.name(), fmt::format("dataset `{}` is missing", name), "", "half of it is not here");
  }
  return version;
}

void check_words(const std::string& file, const std::vector<std::string>& words) {
  if (words.empty()) refuse_vocabulary(file, "it has no words", "0 words", "a codebook needs at least one");
  std::unordered_map<std::string_view, std::size_t> row_of;
  for (std::size_t row = 0; row < words.size(); ++row) {
    if (words[row].empty())
      refuse_vocabulary(file, "empty word", fmt::format("row {}", row), "a token must name a word");
    const auto [earlier, is_new] = row_of.emplace(words[row], row);
    if (!is_new) {
      refuse_vocabulary(file, "a word appears twice",
                        fmt::format("\"{}\", rows {} and {}", words[row], earlier->second, row),
                        "a word must be one token");
    }
  }
}

at::Tensor read_embeddings(const Hdf5File& file, std::size_t num_words) {
  const std::vector<std::int64_t> shape = file.shape_of("embeddings");
  const std::string shape_text = fmt::format("{}", fmt::join(shape, " x "));
  if (shape.size() != 2 || shape[1] == 0) {
    refuse_vocabulary(file.name(), "wrong shape of `embeddings`", shape_text, "words x channels is needed");
  }
  if (shape[0] != static_cast<std::int64_t>(num_words)) {
    refuse_vocabulary(file.name(), "wrong number of embeddings", fmt::format("{} for {} words", shape_text, num_words),
                      "each word needs one");
  }
  const at::ScalarType type = file.type_of("embeddings");
  if (!at::isFloatingType(type)) {
    refuse_vocabulary(file.name(), "wrong type of `embeddings`", c10::toString(type),
                      "float16, float32 or float64 is needed");
  }
  const at::Tensor embeddings = file.read_tensor("embeddings").to(at::kFloat).contiguous();
  const at::Tensor bad_rows = at::isfinite(embeddings).all(1).logical_not().nonzero();
  if (bad_rows.numel() > 0) {
    refuse_vocabulary(file.name(), "an embedding holds NaN or infinity",
                      fmt::format("{} rows, the first is {}", bad_rows.size(0), bad_rows[0][0].item<std::int64_t>()),
                      "distances to it have no meaning");
  }
  return embeddings;
}

}  // namespace

Vocabulary load_vocabulary(const std::string& name) {
  const Hdf5File file = open_vocabulary(name);
  const std::int64_t version = check_format(file);
  Vocabulary vocabulary;
  vocabulary.words = file.read_texts("words");
  check_words(file.name(), vocabulary.words);
  vocabulary.embeddings = read_embeddings(file, vocabulary.words.size());
  vocabulary.source = file.read_text_attribute("source");
  vocabulary.licence = file.read_text_attribute("licence");
  vocabulary.hash = file.read_text_attribute("hash");
  const std::string actual = vocabulary_hash(vocabulary.words, vocabulary.embeddings, version);
  if (actual != vocabulary.hash) {
    refuse_vocabulary(file.name(), "its hash does not fit its content",
                      fmt::format("{} stored, {} computed", vocabulary.hash, actual),
                      "words or embeddings were changed after the file was made");
  }
  return vocabulary;
}

std::string stated_vocabulary_hash(const std::string& name) {
  const Hdf5File file = open_vocabulary(name);
  check_format(file);
  return file.read_text_attribute("hash");
}

std::string vocabulary_hash(const std::vector<std::string>& words, const at::Tensor& embeddings, std::int64_t version) {
  const at::Tensor values = embeddings.to(at::kCPU, at::kFloat).contiguous();
  const std::span rows(static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes());
  std::string lines;
  for (const std::string& word : words) lines.append(word).push_back('\n');
  if (version == 1) {
    lines.append(reinterpret_cast<const char*>(rows.data()), rows.size());
    return storage::checksum_text(base::key_of(lines));
  }
  storage::RunningChecksum sum;
  sum.update(std::as_bytes(std::span(lines)));
  sum.update(rows);
  return storage::checksum_text(sum.value());
}

at::Tensor make_codebook(const Vocabulary& vocabulary, bool normalise_rows, at::ScalarType dtype) {
  // In double, so that rows are as close to length 1 as `dtype` allows.
  at::Tensor rows = vocabulary.embeddings.to(at::kDouble);
  if (normalise_rows) {
    const at::Tensor lengths = at::linalg_vector_norm(rows, 2, at::IntArrayRef{1}, true);
    if (lengths.eq(0).any().item<bool>()) {
      throw Error(ExitCode::data, {.what = fmt::format("vocabulary {}: an embedding is all zeros", vocabulary.source),
                                   .value = "length 0",
                                   .why = "it has no direction, so it cannot be brought to length 1",
                                   .remedy = "take the word out, or use the rows as they are"});
    }
    rows = rows / lengths;
  }
  return rows.to(dtype).contiguous();
}

std::string codebook_hash(const at::Tensor& codebook) {
  const at::Tensor values = codebook.detach().to(at::kCPU).contiguous();
  const std::string header =
      fmt::format("{} {} ", c10::toString(values.scalar_type()), fmt::join(values.sizes(), " x "));
  storage::RunningChecksum sum;
  sum.update(std::as_bytes(std::span(header)));
  sum.update({static_cast<const std::byte*>(values.const_data_ptr()), values.nbytes()});
  return storage::checksum_text(sum.value());
}

}  // namespace leda::language
