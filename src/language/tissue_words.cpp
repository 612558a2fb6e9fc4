#include "language/tissue_words.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <string>
#include <unordered_map>

#include "base/error.hpp"

namespace leda::language {

namespace {

using Terms = std::span<const std::string_view>;

// data_tools/tissue_terms.py has the same: the built-in vocabulary, and exported ones on demand, begin with them.
constexpr std::string_view kAir[] = {"air", "gas", "outside", "empty", "atmosphere", "background"};
constexpr std::string_view kLung[] = {"lung", "lungs", "breathing", "respiratory", "breath", "chest"};
constexpr std::string_view kFat[] = {"fat", "fatty", "oil", "grease", "butter", "obesity"};
constexpr std::string_view kWater[] = {"water", "fluid", "liquid", "wet", "urine", "cyst"};
constexpr std::string_view kSoft[] = {"tissue", "muscle", "muscles", "liver", "kidney", "organ", "spleen"};
constexpr std::string_view kBlood[] = {"blood", "vessel", "artery", "heart", "vascular", "aorta"};
constexpr std::string_view kBone[] = {"bone", "bones", "spine", "rib", "skeleton", "skull", "pelvis"};
constexpr std::string_view kMetal[] = {"metal", "steel", "implant", "iron", "titanium", "alloy"};

// In the order of ct::Tissue.
constexpr std::array<Terms, ct::kNumTissues> kTerms{kAir, kLung, kFat, kWater, kSoft, kBlood, kBone, kMetal};

std::size_t index_of(ct::Tissue tissue) { return static_cast<std::size_t>(tissue); }

}  // namespace

std::span<const std::string_view> terms_of(ct::Tissue tissue) { return kTerms[index_of(tissue)]; }

TissueWords::TissueWords(const Vocabulary& vocabulary)
    : membership_(at::zeros({ct::kNumTissues, vocabulary.size()}, at::kBool)) {
  std::unordered_map<std::string_view, std::int64_t> token_of;
  for (std::int64_t token = 0; token < vocabulary.size(); ++token) {
    token_of.emplace(vocabulary.words[static_cast<std::size_t>(token)], token);
  }
  for (const ct::TissueRange& row : ct::kTissues) {
    std::vector<std::int64_t>& tokens = tokens_[index_of(row.tissue)];
    for (const std::string_view term : terms_of(row.tissue)) {
      if (const auto found = token_of.find(term); found != token_of.end()) tokens.push_back(found->second);
    }
    if (tokens.empty()) {
      throw base::Error(
          base::ExitCode::data,
          {.what = fmt::format("the vocabulary ({}) has no word for the tissue {}", vocabulary.source, row.name),
           .value = fmt::format("{} words, none of: {}", vocabulary.size(), fmt::join(terms_of(row.tissue), ", ")),
           .why = "candidate words need at least one word per tissue",
           .remedy = "add one of these words to the vocabulary, or use vocabulary.file = builtin"});
    }
    for (const std::int64_t token : tokens) membership_[static_cast<std::int64_t>(row.tissue)][token] = true;
  }
}

const std::vector<std::int64_t>& TissueWords::tokens_of(ct::Tissue tissue) const { return tokens_[index_of(tissue)]; }

bool TissueWords::is_word_of(ct::Tissue tissue, std::int64_t token) const {
  for (const std::int64_t own : tokens_of(tissue)) {
    if (own == token) return true;
  }
  return false;
}

}  // namespace leda::language
