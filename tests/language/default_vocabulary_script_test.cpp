#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "language/tissue_words.hpp"
#include "language/vocabulary.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::language {
namespace {

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

class DefaultVocabularyScript : public testing::Test {
 protected:
  DefaultVocabularyScript() {
    const auto made = run(LEDA_SOURCE_FOLDER "/tests/language/tiny_model.py " + model());
    EXPECT_EQ(made.exit_code, 0) << made.output;
  }

  std::string model() const { return folder_.path() / "model"; }
  std::string file(const std::string& name) const { return folder_.path() / name; }
  test::CommandResult run(const std::string& arguments) const {
    return test::run_command(std::string(LEDA_TEST_PYTHON) + " " + arguments);
  }
  test::CommandResult run_script(const std::string& arguments) const {
    return run(LEDA_SOURCE_FOLDER "/data_tools/make_default_vocabulary.py " + model() + " " + arguments);
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(DefaultVocabularyScript, TakesTissueWordsThenWholeWordsInTheModelsOrder) {
  const auto made = run_script("--words 13 --output " + file("words.h5"));
  ASSERT_EQ(made.exit_code, 0) << made.output;
  EXPECT_NE(made.output.find("spleen"), std::string::npos) << "missing terms are named: " << made.output;
  const Vocabulary vocabulary = load_vocabulary(file("words.h5"));
  const std::vector<std::string> expected{"air",   "lung", "fat",  "water", "muscle", "blood", "bone",
                                          "metal", "with", "from", "were",  "they",   "which"};
  EXPECT_EQ(vocabulary.words, expected);
  EXPECT_NO_THROW(TissueWords{vocabulary});
}

TEST_F(DefaultVocabularyScript, WritesTheSameBytesEveryTime) {
  ASSERT_EQ(run_script("--words 13 --output " + file("first.h5")).exit_code, 0);
  ASSERT_EQ(run("-c \"import time; time.sleep(1.1)\"").exit_code, 0);  // HDF5's own times count seconds
  ASSERT_EQ(run_script("--words 13 --output " + file("second.h5")).exit_code, 0);
  EXPECT_FALSE(bytes_of(file("first.h5")).empty());
  EXPECT_EQ(bytes_of(file("first.h5")), bytes_of(file("second.h5")));
}

TEST_F(DefaultVocabularyScript, CheckTellsWhetherAFileIsTheModels) {
  ASSERT_EQ(run_script("--words 13 --output " + file("words.h5")).exit_code, 0);
  EXPECT_EQ(run_script("--words 13 --check " + file("words.h5")).exit_code, 0);
  const auto other = run_script("--words 12 --check " + file("words.h5"));
  EXPECT_EQ(other.exit_code, 1);
  EXPECT_NE(other.output.find("the words differ"), std::string::npos) << other.output;
}

TEST_F(DefaultVocabularyScript, RefusesMoreWordsThanTheModelHas) {
  EXPECT_NE(run_script("--words 100 --output " + file("words.h5")).exit_code, 0);
}

}  // namespace
}  // namespace leda::language
