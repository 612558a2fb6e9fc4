#include "language/tissue_words.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "tests/language/tiny_vocabulary.hpp"

namespace leda::language {
namespace {

using ct::Tissue;

std::vector<std::string> words_of(const Vocabulary& vocabulary, Tissue tissue) {
  std::vector<std::string> words;
  const TissueWords tissue_words(vocabulary);
  for (const std::int64_t token : tissue_words.tokens_of(tissue)) {
    words.push_back(vocabulary.words[static_cast<std::size_t>(token)]);
  }
  return words;
}

TEST(TissueWords, NoTermBelongsToTwoTissues) {
  std::set<std::string_view> seen;
  for (const ct::TissueRange& row : ct::kTissues) {
    EXPECT_FALSE(terms_of(row.tissue).empty());
    for (const std::string_view term : terms_of(row.tissue)) EXPECT_TRUE(seen.insert(term).second) << term;
  }
}

TEST(TissueWords, BuiltinVocabularyHasWordsForEachTissue) {
  using Words = std::vector<std::string>;
  const Vocabulary builtin = load_vocabulary("builtin");
  EXPECT_EQ(words_of(builtin, Tissue::air), (Words{"air", "gas", "outside", "empty", "atmosphere", "background"}));
  EXPECT_EQ(words_of(builtin, Tissue::lung), (Words{"lung", "lungs", "breathing", "respiratory", "breath", "chest"}));
  EXPECT_EQ(words_of(builtin, Tissue::fat), (Words{"fat", "fatty", "oil", "grease", "butter", "obesity"}));
  EXPECT_EQ(words_of(builtin, Tissue::water), (Words{"water", "fluid", "liquid", "wet", "urine"}));
  EXPECT_EQ(words_of(builtin, Tissue::soft), (Words{"tissue", "muscle", "muscles", "liver", "kidney", "organ"}));
  EXPECT_EQ(words_of(builtin, Tissue::blood), (Words{"blood", "vessel", "artery", "heart", "vascular"}));
  EXPECT_EQ(words_of(builtin, Tissue::bone), (Words{"bone", "bones", "spine", "rib", "skeleton", "skull"}));
  EXPECT_EQ(words_of(builtin, Tissue::metal), (Words{"metal", "steel", "implant", "iron", "titanium", "alloy"}));
}

TEST(TissueWords, MembershipIsTheListsAsATable) {
  const Vocabulary vocabulary = test::tiny_vocabulary();
  const TissueWords words(vocabulary);
  for (const ct::TissueRange& row : ct::kTissues) {
    for (std::int64_t token = 0; token < vocabulary.size(); ++token) {
      const auto terms = terms_of(row.tissue);
      const bool expected = std::ranges::find(terms, vocabulary.words[static_cast<std::size_t>(token)]) != terms.end();
      EXPECT_EQ(words.is_word_of(row.tissue, token), expected);
      EXPECT_EQ(words.membership()[static_cast<std::int64_t>(row.tissue)][token].item<bool>(), expected);
    }
  }
}

TEST(TissueWords, TissueWithoutAWordIsRefusedWithItsTerms) {
  Vocabulary vocabulary = test::tiny_vocabulary();
  for (std::string& word : vocabulary.words) {
    if (std::ranges::find(terms_of(Tissue::bone), word) != terms_of(Tissue::bone).end()) word = "no" + word;
  }
  try {
    const TissueWords words(vocabulary);
    FAIL() << "accepted";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.exit_code(), base::ExitCode::data);
    const std::string message = error.what();
    for (const std::string_view term : terms_of(Tissue::bone)) EXPECT_NE(message.find(term), std::string::npos);
  }
}

TEST(TissueMatch, CountsWordsOfTheCellsTissue) {
  const Vocabulary vocabulary = test::tiny_vocabulary();
  const TissueWords words(vocabulary);
  const std::int64_t air = words.tokens_of(Tissue::air)[2];
  const std::int64_t lung = words.tokens_of(Tissue::lung)[0];
  const std::int64_t bone = words.tokens_of(Tissue::bone)[1];
  const auto label = [](Tissue tissue) { return static_cast<std::int64_t>(tissue); };
  // Right, right, wrong in air; right, wrong, no tissue word at all in the body.
  const at::Tensor tokens = at::tensor({air, air, lung, lung, air, std::int64_t{0}}).reshape({1, 2, 3});
  const at::Tensor tissue = at::tensor({label(Tissue::air), label(Tissue::air), label(Tissue::air), label(Tissue::lung),
                                        label(Tissue::bone), label(Tissue::bone)})
                                .to(at::kByte)
                                .reshape({1, 2, 3});
  at::Tensor counts = tissue_match_counts(words, tokens, tissue);
  EXPECT_EQ(counts[0].item<std::int64_t>(), 3);
  EXPECT_EQ(counts[1].item<std::int64_t>(), 6);
  EXPECT_EQ(counts[2].item<std::int64_t>(), 1);
  EXPECT_EQ(counts[3].item<std::int64_t>(), 3);
  // Counts of two ranks add up: one more position, right.
  counts.add_(tissue_match_counts(words, at::tensor({bone}), at::tensor({label(Tissue::bone)}).to(at::kByte)));
  const TissueMatchRate rate = tissue_match_rate(counts);
  EXPECT_DOUBLE_EQ(rate.all, 4.0 / 7.0);
  EXPECT_DOUBLE_EQ(rate.non_air, 2.0 / 4.0);
}

TEST(TissueMatch, NothingCountedGivesZero) {
  const TissueWords words(test::tiny_vocabulary());
  const at::Tensor counts =
      tissue_match_counts(words, at::empty({0, 4, 4}, at::kLong), at::empty({0, 4, 4}, at::kByte));
  EXPECT_EQ(counts.sum().item<std::int64_t>(), 0);
  EXPECT_EQ(tissue_match_rate(counts).all, 0.0);
  EXPECT_EQ(tissue_match_rate(counts).non_air, 0.0);
}

}  // namespace
}  // namespace leda::language
