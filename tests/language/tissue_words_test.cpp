#include "language/tissue_words.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/error.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/support/refusal.hpp"

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
  const std::string message = test::refusal_message(base::ExitCode::data, [&] { const TissueWords words(vocabulary); });
  for (const std::string_view term : terms_of(Tissue::bone)) EXPECT_NE(message.find(term), std::string::npos);
}

}  // namespace
}  // namespace leda::language
