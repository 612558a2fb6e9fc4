#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>

#include "language/vocabulary.hpp"
#include "storage/hdf5_file.hpp"
#include "storage/safetensors.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::language {
namespace {

std::vector<std::string> lines_of(const std::string& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

at::Tensor tensor_of(const storage::TensorArchive& archive, const std::string& name) {
  for (const auto& [key, tensor] : archive.tensors) {
    if (key == name) return tensor;
  }
  ADD_FAILURE() << name << " is missing";
  return {};
}

// Vocabularies that data_tools/export_vocabulary.py made of small models and of a real one, all in one go.
class ExportedVocabulary : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<test::TemporaryFolder>();
    const std::string script = LEDA_SOURCE_FOLDER "/tests/language/exported_vocabularies.py ";
    made_ = test::run_command(std::string(LEDA_TEST_PYTHON) + " -W ignore " + script + folder_->path().string());
  }
  static void TearDownTestSuite() { folder_.reset(); }
  void SetUp() override { ASSERT_EQ(made_.exit_code, 0) << made_.output; }

  static std::string file(const std::string& ending) { return folder_->path() / (GetParam() + ending); }
  static const std::string& report() { return made_.output; }

 private:
  static inline std::unique_ptr<test::TemporaryFolder> folder_{};
  static inline test::CommandResult made_{};
};

TEST_P(ExportedVocabulary, HoldsTheModelsWordsAndRows) {
  const Vocabulary vocabulary = load_vocabulary(file(".h5"));
  const std::vector<std::string> words = lines_of(file(".txt"));
  ASSERT_FALSE(words.empty());
  EXPECT_EQ(vocabulary.words, words);
  const storage::TensorArchive expected = storage::load_safetensors(file(".safetensors"));
  const at::Tensor rows = tensor_of(expected, "rows");
  ASSERT_EQ(vocabulary.embeddings.sizes(), rows.sizes());
  EXPECT_GT(rows.abs().max().item<double>(), 0.01);
  const at::Tensor excess = (vocabulary.embeddings - rows).abs() - tensor_of(expected, "tolerance");
  EXPECT_LE(excess.max().item<double>(), 0.0);
}

TEST_P(ExportedVocabulary, SaysWhereItComesFrom) {
  const auto content = storage::Hdf5File::open_read(file(".h5"));
  for (const char* name :
       {"source", "licence", "model", "model_file", "tensor", "tensor_type", "tokens", "marking", "selection"}) {
    EXPECT_FALSE(content.read_text_attribute(name).empty()) << name;
  }
  EXPECT_EQ(content.read_text_attribute("model_sha256").size(), 64u);
  EXPECT_NE(content.read_text_attribute("exported_by").find("export_vocabulary.py"), std::string::npos);
  EXPECT_EQ(content.shape_of("token_ids"), std::vector<std::int64_t>{load_vocabulary(file(".h5")).size()});
}

TEST_P(ExportedVocabulary, IsNamedInTheReport) { EXPECT_NE(report().find(file(".h5")), std::string::npos) << report(); }

INSTANTIATE_TEST_SUITE_P(EachModel, ExportedVocabulary,
                         testing::Values("minilm", "gguf_f32", "gguf_f16", "gguf_q8_0", "gguf_q4_0", "word_list",
                                         "clip", "clip_bin", "clip_pieces", "clip_tokens", "llama", "byte_level"),
                         [](const testing::TestParamInfo<std::string>& model) { return model.param; });

}  // namespace
}  // namespace leda::language
