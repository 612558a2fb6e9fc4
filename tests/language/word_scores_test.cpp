#include "language/word_scores.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <functional>

#include "base/error.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/language/tiny_word_scores.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::language {
namespace {

using test::WordScoreContent;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class WordScoreFile : public testing::Test {
 protected:
  WordScoreFile() { content.vocabulary_hash = vocabulary.hash; }

  WordScores load(const std::vector<SliceIdentity>& slices) const {
    test::write_word_scores(path(), content);
    return WordScores::load(path(), vocabulary, slices);
  }
  // The message of the Error(data) that loading ends with, after `change`.
  std::string refusal(const std::function<void(WordScoreContent&)>& change) const {
    WordScoreContent changed = content;
    change(changed);
    test::write_word_scores(path(), changed);
    return refusal_of(path(), test::slices_of(content));
  }
  std::string refusal_of(const std::string& file, const std::vector<SliceIdentity>& slices) const {
    const base::Error error =
        test::refusal_of(base::ExitCode::data, [&] { WordScores::load(file, vocabulary, slices); });
    EXPECT_FALSE(error.text().remedy.empty());
    EXPECT_THAT(error.what(), HasSubstr(file));
    return error.what();
  }
  std::string path() const { return folder_.path() / "scores.h5"; }

  const Vocabulary vocabulary = test::tiny_vocabulary();
  WordScoreContent content;

 private:
  test::TemporaryFolder folder_;
};

TEST_F(WordScoreFile, WordsOfASliceAreThoseFromTheThresholdOn) {
  const WordScores scores = load(test::slices_of(content));
  ASSERT_EQ(scores.num_slices(), 3);
  EXPECT_EQ(scores.lowest_score(), 0.5);
  EXPECT_EQ(scores.model(), "a table");
  EXPECT_THAT(scores.words_of(0, 0.5), ElementsAre(7, 3, 0));
  EXPECT_THAT(scores.words_of(0, 0.875), ElementsAre(7, 3));  // a score that equals the threshold is in
  EXPECT_THAT(scores.words_of(0, 0.9), ElementsAre(7));
  EXPECT_THAT(scores.words_of(1, 0.5), ElementsAre(5));
  EXPECT_THAT(scores.words_of(2, 0.5), ElementsAre(1, 4));
  EXPECT_THAT(scores.words_of(2, 1.0), ElementsAre(1));
}

TEST_F(WordScoreFile, SlicesAreFoundByIdentityInAnyOrderAndPart) {
  const std::vector<SliceIdentity> slices = test::slices_of(content);
  const WordScores some = load({slices[2], slices[0]});
  ASSERT_EQ(some.num_slices(), 2);
  EXPECT_THAT(some.words_of(0, 0.5), ElementsAre(1, 4));
  EXPECT_THAT(some.words_of(1, 0.5), ElementsAre(7, 3, 0));
}

TEST_F(WordScoreFile, HashSpeaksOfWhatTheRunSees) {
  const std::vector<SliceIdentity> slices = test::slices_of(content);
  const std::string all = load(slices).hash();
  EXPECT_EQ(load(slices).hash(), all);
  EXPECT_NE(load({slices[0], slices[1]}).hash(), all);
  EXPECT_NE(load({slices[1], slices[0], slices[2]}).hash(), all);
  content.scores[5] = 0.76F;
  EXPECT_NE(load(slices).hash(), all);
  // The same words of the same slices in a file of another order.
  content = {.vocabulary_hash = vocabulary.hash,
             .patients = {"b", "a", "a"},
             .positions_mm = {0.0, 0.0, 2.5},
             .checksums = {1ULL << 63, 11, 12},
             .offsets = {0, 2, 5, 6},
             .tokens = {1, 4, 7, 3, 0, 5},
             .scores = {1.0F, 0.75F, 1.0F, 0.875F, 0.5F, 1.0F}};
  EXPECT_EQ(load(slices).hash(), all);
}

TEST_F(WordScoreFile, FirstUnmatchedSliceIsNamed) {
  std::vector<SliceIdentity> slices = test::slices_of(content);
  slices.push_back({"b", "one", 2.5, 1});
  slices.push_back({"c", "one", 0.0, 1});
  test::write_word_scores(path(), content);
  EXPECT_THAT(refusal_of(path(), slices), AllOf(HasSubstr("patient b, series one, position 2.5 mm"),
                                                HasSubstr("not among its slices"), HasSubstr("words.scores")));
  slices = test::slices_of(content);
  slices[1].series = "two";
  EXPECT_THAT(refusal_of(path(), slices), HasSubstr("patient a, series two, position 2.5 mm"));
}

TEST_F(WordScoreFile, AnotherImageOfTheSameNameIsRefused) {
  std::vector<SliceIdentity> slices = test::slices_of(content);
  slices[1].image_checksum = 13;
  test::write_word_scores(path(), content);
  EXPECT_THAT(refusal_of(path(), slices),
              AllOf(HasSubstr("bears the name of another image"), HasSubstr("patient a, series one, position 2.5 mm"),
                    HasSubstr("000000000000000c"), HasSubstr("000000000000000d")));
}

TEST_F(WordScoreFile, MissingFileOrPartIsNamed) {
  EXPECT_THAT(refusal_of(path() + "_none", {}), HasSubstr("no such file"));
  std::ofstream(path()) << "no HDF5";
  refusal_of(path(), {});
  for (const char* name : {"format", "version", "vocabulary_hash", "model", "lowest_score", "patient", "series",
                           "position_mm", "image_checksum", "offsets", "tokens", "scores"}) {
    EXPECT_THAT(refusal([&](WordScoreContent& changed) { changed.left_out = name; }),
                AllOf(HasSubstr(name), HasSubstr("missing")));
  }
}

TEST_F(WordScoreFile, WrongFormatVersionAndVocabularyAreRefused) {
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.format = "leda-vocabulary"; }), HasSubstr("format"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.version = 2; }), HasSubstr("reads version 1"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.vocabulary_hash = "0123456789abcdef"; }),
              AllOf(HasSubstr("0123456789abcdef"), HasSubstr(vocabulary.hash), HasSubstr("vocabulary.file")));
}

TEST_F(WordScoreFile, WordsThatCannotBeAreRefused) {
  const auto change = [this](auto part, std::size_t index, auto value) {
    return refusal([&](WordScoreContent& changed) { (changed.*part)[index] = value; });
  };
  EXPECT_THAT(change(&WordScoreContent::tokens, 1, static_cast<std::int32_t>(vocabulary.size())),
              HasSubstr("no word of the vocabulary"));
  EXPECT_THAT(change(&WordScoreContent::tokens, 4, -1), HasSubstr("-1, of patient b"));
  EXPECT_THAT(change(&WordScoreContent::tokens, 2, 7), HasSubstr("appears twice"));
  EXPECT_THAT(change(&WordScoreContent::scores, 1, std::nanf("")), HasSubstr("nan, of patient a"));
  EXPECT_THAT(change(&WordScoreContent::scores, 0, INFINITY), HasSubstr("out of order or range"));
  EXPECT_THAT(change(&WordScoreContent::scores, 0, 0.9F), HasSubstr("out of order or range"));  // the best is 1
  EXPECT_THAT(change(&WordScoreContent::scores, 2, 0.95F), HasSubstr("out of order or range"));
  EXPECT_THAT(change(&WordScoreContent::scores, 2, 0.4F), HasSubstr("0.5 at least"));
}

TEST_F(WordScoreFile, ArraysThatDoNotFitAreRefused) {
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.offsets = {0, 3, 3, 6}; }), HasSubstr("without words"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.offsets = {0, 3, 4, 5}; }), HasSubstr("do not span"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.offsets = {1, 3, 4, 6}; }), HasSubstr("do not span"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.offsets = {0, 3, 6}; }), HasSubstr("`offsets`"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.scores.pop_back(); }), HasSubstr("`scores`"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) { changed.series.pop_back(); }), HasSubstr("`series`"));
  EXPECT_THAT(refusal([](WordScoreContent& changed) {
                changed.positions_mm = {0.0, 0.0, 0.0};
              }),
              AllOf(HasSubstr("a slice appears twice"), HasSubstr("patient a, series one, position 0 mm")));
}

}  // namespace
}  // namespace leda::language
