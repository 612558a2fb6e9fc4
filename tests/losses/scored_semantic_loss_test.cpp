// The semantic loss with candidates of word scores, against the cross-entropy written out word by word.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>

#include "base/keyed_random.hpp"
#include "language/scored_candidates.hpp"
#include "losses/semantic_loss.hpp"
#include "models/pyramid_quantizer.hpp"
#include "tests/language/tiny_vocabulary.hpp"
#include "tests/language/tiny_word_scores.hpp"
#include "tests/support/finite_differences.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::losses {
namespace {

using language::LevelCandidates;

// Two images of 4 x 4 latents (8 x 8 pixels); the scores know three words of the first and two of the second.
struct ScoredCase {
  static constexpr std::int64_t kChannels = 5;
  language::Vocabulary vocabulary = test::tiny_vocabulary(kChannels);
  language::TissueWords words{vocabulary};
  at::Tensor codebook = language::make_codebook(vocabulary, false, at::kDouble);
  std::vector<int> strides{2, 1};
  std::vector<double> thresholds{0.9, 0.5};
  at::Tensor tissue = at::empty({2, 8, 8}, at::kByte);
  at::Tensor latent = at::empty({2, kChannels, 4, 4}, at::kDouble);
  language::WordScores scores = load();

  ScoredCase() {
    base::KeyedRandom random({7});
    for (std::int64_t i = 0; i < tissue.numel(); ++i) {
      tissue.mutable_data_ptr<std::uint8_t>()[i] = static_cast<std::uint8_t>(random.below(8));
    }
    for (std::int64_t i = 0; i < latent.numel(); ++i) latent.mutable_data_ptr<double>()[i] = 0.5 * random.normal();
  }

  language::WordScores load() const {
    const auto token = [&](const char* word) {
      return static_cast<std::int32_t>(std::ranges::find(vocabulary.words, word) - vocabulary.words.begin());
    };
    const test::TemporaryFolder folder;
    test::WordScoreContent content{.vocabulary_hash = vocabulary.hash,
                                   .patients = {"a", "b"},
                                   .series = {"one", "one"},
                                   .positions_mm = {0.0, 0.0},
                                   .checksums = {1, 2},
                                   .offsets = {0, 3, 5},
                                   .tokens = {token("bone"), token("first"), token("lung"), token("fat"), token("rib")},
                                   .scores = {1.0F, 0.95F, 0.5F, 1.0F, 0.6F}};
    const std::string path = folder.path() / "scores.h5";
    test::write_word_scores(path, content);
    return language::WordScores::load(path, vocabulary, test::slices_of(content));
  }
  std::vector<LevelCandidates> candidates(bool restrict_to_tissue) const {
    const language::CandidateOptions options{.source = language::CandidateSource::scores,
                                             .restrict_to_tissue = restrict_to_tissue,
                                             .thresholds = thresholds};
    const std::vector<language::LevelGrid> grids{{2, 2}, {4, 4}};
    auto levels = language::CandidateWords(words, codebook, options, strides, 2).of_tissue_maps(tissue, grids);
    language::ScoredCandidates(words, codebook, options, strides.size(), scores)
        .place(std::vector<std::int64_t>{0, 1}, levels);
    return levels;
  }
  models::QuantizedLatent quantize(const at::Tensor& z, bool gradients) const {
    return models::quantize_pyramid(z, codebook, strides, 11, {.log_partition = true, .gradients = gradients});
  }
  double loss(bool restrict_to_tissue) const {
    return semantic_loss(quantize(latent, false).levels, candidates(restrict_to_tissue)).sum().item<double>();
  }

  std::vector<std::int64_t> tokens_at(std::int64_t image, double threshold, ct::Tissue cell, bool restricted) const {
    std::vector<std::int64_t> tokens;
    for (const std::int32_t token : scores.words_of(image, threshold)) {
      if (!restricted || words.is_word_of(cell, token)) tokens.push_back(token);
    }
    return tokens.empty() ? words.tokens_of(cell) : tokens;
  }
  // -log( exp(-|z - e(c)|^2) / sum_t exp(-|z - e(t)|^2) ), meant over candidates, positions and levels one by one.
  double brute_force(bool restricted) const {
    const auto levels = quantize(latent, false).levels;
    const auto placed = candidates(restricted);
    double sum = 0.0;
    for (std::size_t index = 0; index < levels.size(); ++index) {
      const at::Tensor& inputs = levels[index].inputs;
      const double num_positions = static_cast<double>(inputs.size(1) * inputs.size(2));
      for (std::int64_t cell = 0; cell < inputs.size(0) * inputs.size(1) * inputs.size(2); ++cell) {
        const std::int64_t image = cell / (inputs.size(1) * inputs.size(2));
        const at::Tensor z = inputs.reshape({-1, kChannels})[cell];
        const at::Tensor distances = (codebook - z).square().sum(1);
        const double normaliser = distances.neg().exp().sum().item<double>();
        const auto shown = static_cast<ct::Tissue>(placed[index].tissue.reshape({-1})[cell].item<std::uint8_t>());
        const auto tokens = tokens_at(image, thresholds[index], shown, restricted);
        for (const std::int64_t token : tokens) {
          sum -= std::log(std::exp(-distances[token].item<double>()) / normaliser) /
                 (static_cast<double>(tokens.size()) * num_positions * static_cast<double>(levels.size()));
        }
      }
    }
    return sum;
  }
};

class ScoredSemanticLoss : public testing::TestWithParam<bool> {};

TEST_P(ScoredSemanticLoss, EqualsTheCrossEntropyWrittenOut) {
  const ScoredCase setting;
  EXPECT_NEAR(setting.loss(GetParam()), setting.brute_force(GetParam()), 1e-12);
}

TEST_P(ScoredSemanticLoss, GradientIsThatOfFiniteDifferences) {
  const ScoredCase setting;
  const at::Tensor z = setting.latent.clone().set_requires_grad(true);
  const at::Tensor loss = semantic_loss(setting.quantize(z, true).levels, setting.candidates(GetParam())).sum();
  const at::Tensor gradient = torch::autograd::grad({loss}, {z})[0].contiguous();
  for (std::int64_t index = 0; index < z.numel(); index += 7) {
    const auto total = [&] { return setting.loss(GetParam()); };
    EXPECT_NEAR(gradient.const_data_ptr<double>()[index], test::central_difference(total, setting.latent, index), 1e-8)
        << index;
  }
}

INSTANTIATE_TEST_SUITE_P(Candidates, ScoredSemanticLoss, testing::Bool(), [](const testing::TestParamInfo<bool>& one) {
  return one.param ? "restricted_to_tissue" : "of_the_image";
});

}  // namespace
}  // namespace leda::losses
