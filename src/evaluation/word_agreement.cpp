#include "evaluation/word_agreement.hpp"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <utility>

#include "evaluation/statistics.hpp"

namespace leda::evaluation {
namespace {

std::set<std::int64_t> top_words(const at::Tensor& tokens, std::int64_t num_wanted) {
  std::map<std::int64_t, std::int64_t> counts;
  const auto cells = tokens.accessor<std::int64_t, 2>();
  for (std::int64_t r = 0; r < tokens.size(0); ++r) {
    for (std::int64_t c = 0; c < tokens.size(1); ++c) ++counts[cells[r][c]];
  }
  std::vector<std::pair<std::int64_t, std::int64_t>> ranked;  // (-count, token): the order wanted
  for (const auto& [token, count] : counts) ranked.emplace_back(-count, token);
  std::sort(ranked.begin(), ranked.end());
  std::set<std::int64_t> top;
  for (const auto& [minus_count, token] : ranked) {
    if (static_cast<std::int64_t>(top.size()) < num_wanted) top.insert(token);
  }
  return top;
}

double overlap(const std::set<std::int64_t>& first, const std::set<std::int64_t>& second) {
  const auto shared =
      std::count_if(first.begin(), first.end(), [&](std::int64_t token) { return second.contains(token); });
  return static_cast<double>(shared) / static_cast<double>(std::max(first.size(), second.size()));
}

}  // namespace

WordAgreement word_agreement(const LevelWords& image, const LevelWords& reference, const at::Tensor& codebook,
                             const at::Tensor& in_body, std::int64_t num_top_words) {
  const at::Tensor same = image.tokens.eq(reference.tokens);
  const std::int64_t num_in_body = in_body.sum().item<std::int64_t>();
  const at::Tensor step =
      codebook.index_select(0, image.tokens.reshape({-1})) - codebook.index_select(0, reference.tokens.reshape({-1}));
  WordAgreement agreement;
  agreement.match_rate = same.to(at::kDouble).mean().item<double>();
  agreement.body_match_rate = std::numeric_limits<double>::quiet_NaN();
  if (num_in_body > 0) {
    agreement.body_match_rate =
        static_cast<double>(same.logical_and(in_body).sum().item<std::int64_t>()) / static_cast<double>(num_in_body);
  }
  agreement.top_word_overlap =
      overlap(top_words(image.tokens, num_top_words), top_words(reference.tokens, num_top_words));
  agreement.embedding_distance = step.square().sum(1).sqrt().mean().item<double>();
  return agreement;
}

std::vector<ChangedWord> changed_words(const LevelWords& from, const LevelWords& to) {
  const auto before = from.tokens.accessor<std::int64_t, 2>();
  const auto after = to.tokens.accessor<std::int64_t, 2>();
  std::vector<ChangedWord> changes;
  for (std::int64_t r = 0; r < from.rows(); ++r) {
    for (std::int64_t c = 0; c < from.columns(); ++c) {
      if (before[r][c] != after[r][c]) changes.push_back({before[r][c], after[r][c], r, c});
    }
  }
  return changes;
}

WordAgreement mean_agreement(const std::vector<WordAgreement>& slices) {
  WordAgreement result;
  for (const AgreementFigure& figure : kAgreementFigures) {
    std::vector<double> values;
    for (const WordAgreement& slice : slices) {
      if (!std::isnan(slice.*figure.value)) values.push_back(slice.*figure.value);
    }
    result.*figure.value = mean(values);
  }
  return result;
}

}  // namespace leda::evaluation
