#include "language/vocabulary.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <set>

#include "base/error.hpp"
#include "storage/hdf5_file.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::language {
namespace {

using storage::Hdf5File;

const std::string kBuiltinFile = LEDA_SOURCE_FOLDER "/data_tools/vocabulary/minilm_1500.h5";

// What a vocabulary file holds, each part replaceable by a wrong one.
struct FileContent {
  std::string format = "leda-vocabulary";
  std::int64_t version = kVocabularyVersion;
  std::vector<std::string> words{};
  at::Tensor embeddings{};
  std::string hash = "";
  std::string left_out = "";  // attribute or dataset not written
};

FileContent good_content() {
  const Vocabulary vocabulary = test::tiny_vocabulary();
  return {.words = vocabulary.words, .embeddings = vocabulary.embeddings, .hash = vocabulary.hash};
}

void write_content(const std::string& path, const FileContent& content) {
  Hdf5File file = Hdf5File::create(path);
  const auto wanted = [&](const char* name) { return content.left_out != name; };
  if (wanted("format")) file.write_text_attribute("format", content.format);
  if (wanted("version")) file.write_integer_attribute("version", content.version);
  if (wanted("source")) file.write_text_attribute("source", "a formula");
  if (wanted("licence")) file.write_text_attribute("licence", "none");
  if (wanted("hash")) file.write_text_attribute("hash", content.hash);
  if (wanted("words")) file.write_texts("words", content.words);
  if (wanted("embeddings")) file.write_tensor("embeddings", content.embeddings);
  file.close();
}

// The message of the Error(data) that loading `path` ends with.
std::string refusal(const std::string& path) {
  SCOPED_TRACE(path);
  const base::Error error = test::refusal_of(base::ExitCode::data, [&] { load_vocabulary(path); });
  EXPECT_FALSE(error.text().remedy.empty());
  return error.what();
}

TEST(Vocabulary, BuiltinIsTheCommittedFile) {
  const Vocabulary builtin = load_vocabulary("builtin");
  const Vocabulary file = load_vocabulary(kBuiltinFile);
  EXPECT_EQ(builtin.words, file.words);
  EXPECT_TRUE(at::equal(builtin.embeddings, file.embeddings));
  EXPECT_EQ(builtin.hash, file.hash);
}

TEST(Vocabulary, BuiltinHoldsFifteenHundredWordsOfTheModel) {
  const Vocabulary builtin = load_vocabulary("builtin");
  EXPECT_EQ(builtin.size(), 1500);
  EXPECT_EQ(builtin.embeddings.sizes(), (std::vector<std::int64_t>{1500, 384}));
  EXPECT_EQ(builtin.licence, "Apache-2.0");
  EXPECT_NE(builtin.source.find("all-MiniLM-L6-v2"), std::string::npos);
  EXPECT_EQ(builtin.words.front(), "air");
  // Row lengths measured on the model itself with NumPy.
  const at::Tensor lengths = builtin.embeddings.to(at::kDouble).square().sum(1).sqrt();
  EXPECT_NEAR(lengths.min().item<double>(), 0.9089146, 1e-6);
  EXPECT_NEAR(lengths.max().item<double>(), 1.5006152, 1e-6);
}

// Both versions, of the same content: the built-in file is of version 1.
TEST(Vocabulary, HashIsTheOneAnotherLanguageComputes) {
  const test::TemporaryFolder folder;
  const std::string newer = folder.path() / "words.h5";
  const Vocabulary builtin = load_vocabulary("builtin");
  write_content(newer, {.words = builtin.words,
                        .embeddings = builtin.embeddings,
                        .hash = vocabulary_hash(builtin.words, builtin.embeddings)});
  std::set<std::string> hashes;
  for (const std::string& file : {kBuiltinFile, newer}) {
    const std::string script = LEDA_SOURCE_FOLDER "/tests/language/vocabulary_hash_reference.py ";
    const auto result = test::run_command(std::string(LEDA_TEST_PYTHON) + " " + script + file);
    ASSERT_EQ(result.exit_code, 0) << result.output;
    EXPECT_EQ(result.output, load_vocabulary(file).hash + "\n");
    EXPECT_EQ(stated_vocabulary_hash(file) + "\n", result.output);
    hashes.insert(result.output);
  }
  EXPECT_EQ(hashes.size(), 2u);
}

TEST(Vocabulary, TheStatedHashIsReadWithoutTheContentButNotOfAnotherFormat) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() / "words.h5";
  FileContent content = good_content();
  content.hash = "0123456789abcdef";
  write_content(path, content);
  EXPECT_EQ(stated_vocabulary_hash(path), content.hash);
  EXPECT_NE(refusal(path).find("hash"), std::string::npos) << "where the content counts, the two are compared";
  content.version = 3;
  write_content(path, content);
  EXPECT_EQ(test::exit_code_of([&] { stated_vocabulary_hash(path); }), base::ExitCode::data);
  EXPECT_EQ(test::exit_code_of([&] { stated_vocabulary_hash("/nowhere/words.h5"); }), base::ExitCode::data);
}

TEST(Vocabulary, FileOfEachFloatTypeIsReadAsFloat32) {
  const test::TemporaryFolder folder;
  for (const at::ScalarType type : {at::kHalf, at::kFloat, at::kDouble}) {
    FileContent content = good_content();
    content.embeddings = content.embeddings.to(type);
    content.hash = vocabulary_hash(content.words, content.embeddings, content.version);
    const std::string path = folder.path() / "words.h5";
    write_content(path, content);
    const Vocabulary loaded = load_vocabulary(path);
    EXPECT_EQ(loaded.words, content.words);
    EXPECT_EQ(loaded.embeddings.scalar_type(), at::kFloat);
    EXPECT_TRUE(at::equal(loaded.embeddings, content.embeddings.to(at::kFloat)));
  }
}

TEST(Vocabulary, MissingFileIsRefused) {
  EXPECT_NE(refusal("/nowhere/words.h5").find("/nowhere/words.h5"), std::string::npos);
}

TEST(Vocabulary, OtherFilesAreRefused) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() / "words.h5";
  std::ofstream(path) << "air lung fat";
  EXPECT_NE(refusal(path).find(path), std::string::npos);
}

struct Fault {
  std::string name;
  std::function<void(FileContent&)> make;
  std::string expected;  // part of the message
  bool hash_fits = true;
};

class DamagedVocabulary : public testing::TestWithParam<Fault> {};

TEST_P(DamagedVocabulary, IsRefusedWithItsFault) {
  const test::TemporaryFolder folder;
  const std::string path = folder.path() / "words.h5";
  FileContent content = good_content();
  GetParam().make(content);
  if (GetParam().hash_fits) content.hash = vocabulary_hash(content.words, content.embeddings, content.version);
  write_content(path, content);
  const std::string message = refusal(path);
  EXPECT_NE(message.find(path), std::string::npos) << message;
  EXPECT_NE(message.find(GetParam().expected), std::string::npos) << message;
}

void put(FileContent& content, double value) { content.embeddings[3][1] = value; }

INSTANTIATE_TEST_SUITE_P(
    EachFault, DamagedVocabulary,
    testing::Values(
        Fault{"format", [](FileContent& c) { c.format = "leda-shard"; }, "wrong format"},
        Fault{"version", [](FileContent& c) { c.version = 3; }, "unknown format version"},
        Fault{"version_0", [](FileContent& c) { c.version = 0; }, "unknown format version"},
        Fault{"no_format", [](FileContent& c) { c.left_out = "format"; }, "`format` is missing"},
        Fault{"no_version", [](FileContent& c) { c.left_out = "version"; }, "`version` is missing"},
        Fault{"no_source", [](FileContent& c) { c.left_out = "source"; }, "`source` is missing"},
        Fault{"no_licence", [](FileContent& c) { c.left_out = "licence"; }, "`licence` is missing"},
        Fault{"no_hash", [](FileContent& c) { c.left_out = "hash"; }, "`hash` is missing"},
        Fault{"no_words", [](FileContent& c) { c.left_out = "words"; }, "`words` is missing"},
        Fault{"no_embeddings", [](FileContent& c) { c.left_out = "embeddings"; }, "`embeddings` is missing"},
        Fault{"empty",
              [](FileContent& c) {
                c.words.clear();
                c.embeddings = at::zeros({0, 5});
              },
              "no words"},
        Fault{"twice", [](FileContent& c) { c.words[7] = c.words[2]; }, "rows 2 and 7"},
        Fault{"empty_word", [](FileContent& c) { c.words[4] = ""; }, "row 4"},
        Fault{"too_few_embeddings", [](FileContent& c) { c.embeddings = c.embeddings.slice(0, 1).contiguous(); },
              "wrong number of embeddings"},
        Fault{"width_zero",
              [](FileContent& c) {
                c.embeddings = at::zeros({c.embeddings.size(0), 0});
              },
              "wrong shape"},
        Fault{"one_dimension", [](FileContent& c) { c.embeddings = at::zeros({c.embeddings.size(0)}); }, "wrong shape"},
        Fault{"integers", [](FileContent& c) { c.embeddings = c.embeddings.to(at::kInt); }, "wrong type"},
        Fault{"nan", [](FileContent& c) { put(c, std::nan("")); }, "NaN or infinity"},
        Fault{"infinity", [](FileContent& c) { put(c, std::numeric_limits<double>::infinity()); }, "NaN or infinity"},
        Fault{"changed_value", [](FileContent& c) { put(c, 0.123); }, "hash", false},
        Fault{"changed_word", [](FileContent& c) { c.words[0] = "third"; }, "hash", false}),
    [](const testing::TestParamInfo<Fault>& fault) { return fault.param.name; });

TEST(Codebook, RowsAreTheEmbeddingsOrHaveLengthOne) {
  const Vocabulary vocabulary = test::tiny_vocabulary();
  EXPECT_TRUE(at::equal(make_codebook(vocabulary, false, at::kFloat), vocabulary.embeddings));
  const at::Tensor unit = make_codebook(vocabulary, true, at::kDouble);
  EXPECT_LT((unit.square().sum(1) - 1).abs().max().item<double>(), 1e-14);
  const at::Tensor raw = vocabulary.embeddings.to(at::kDouble);
  const at::Tensor cosine = (unit * raw).sum(1) / raw.square().sum(1).sqrt();
  EXPECT_LT((cosine - 1).abs().max().item<double>(), 1e-14);
}

TEST(Codebook, RowOfZerosCannotBeNormalised) {
  Vocabulary vocabulary = test::tiny_vocabulary();
  vocabulary.embeddings[2].zero_();
  EXPECT_THROW(make_codebook(vocabulary, true, at::kFloat), base::Error);
  EXPECT_NO_THROW(make_codebook(vocabulary, false, at::kFloat));
}

TEST(Codebook, HashFollowsTypeShapeAndEveryBit) {
  const at::Tensor codebook = make_codebook(test::tiny_vocabulary(), false, at::kFloat);
  const std::string hash = codebook_hash(codebook);
  EXPECT_EQ(hash.size(), 16u);
  EXPECT_EQ(codebook_hash(codebook.t().contiguous().t()), hash);  // other strides, same values
  EXPECT_NE(codebook_hash(codebook.t()), hash);
  EXPECT_NE(codebook_hash(codebook.to(at::kDouble)), hash);
  at::Tensor changed = codebook.clone();
  float& value = changed.mutable_data_ptr<float>()[17];
  value = std::nextafter(value, 1.0f);
  EXPECT_NE(codebook_hash(changed), hash);
}

}  // namespace
}  // namespace leda::language
