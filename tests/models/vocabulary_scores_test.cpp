#include "models/vocabulary_scores.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "tests/support/finite_differences.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

struct PlainScores {
  std::vector<std::int64_t> best;
  std::vector<double> log_partition;
};

// Straight from |z - e|^2, one number at a time.
PlainScores plain_scores(const at::Tensor& vectors, const at::Tensor& codebook) {
  PlainScores plain;
  const auto z = vectors.accessor<double, 2>();
  const auto e = codebook.accessor<double, 2>();
  for (std::int64_t n = 0; n < z.size(0); ++n) {
    double nearest = INFINITY, sum = 0.0, length = 0.0;
    std::int64_t best = -1;
    for (std::int64_t c = 0; c < z.size(1); ++c) length += z[n][c] * z[n][c];
    for (std::int64_t t = 0; t < e.size(0); ++t) {
      double distance = 0.0;
      for (std::int64_t c = 0; c < z.size(1); ++c) distance += (z[n][c] - e[t][c]) * (z[n][c] - e[t][c]);
      if (distance < nearest) {
        nearest = distance;
        best = t;
      }
      sum += std::exp(-distance);
    }
    plain.best.push_back(best);
    plain.log_partition.push_back(length + std::log(sum));
  }
  return plain;
}

TEST(VocabularyScores, EqualPlainLoopsForEveryTile) {
  const at::Tensor vectors = normal_tensor({23, 5}, 1), codebook = normal_tensor({31, 5}, 2);
  const PlainScores plain = plain_scores(vectors, codebook);
  for (const std::int64_t tile : {1, 7, 30, 31, 32, 4096}) {
    const VocabularyScores scores = score_vocabulary(vectors, codebook, tile, true);
    ASSERT_EQ(scores.best.size(0), 23);
    for (int n = 0; n < 23; ++n) {
      EXPECT_EQ(scores.best[n].item<std::int64_t>(), plain.best[n]) << "tile " << tile;
      EXPECT_NEAR(scores.log_partition[n].item<double>(), plain.log_partition[n], 1e-12) << "tile " << tile;
    }
    EXPECT_TRUE(score_vocabulary(vectors, codebook, tile, false).best.equal(scores.best));
    EXPECT_FALSE(score_vocabulary(vectors, codebook, tile, false).log_partition.defined());
  }
}

// Small whole numbers, because only exact arithmetic makes exact ties: in a matrix product equal columns may round
// differently.
TEST(VocabularyScores, LowestIndexWinsATieWithinAndAcrossTiles) {
  const at::Tensor once = normal_tensor({6, 4}, 3, 3.0).round(), vectors = normal_tensor({50, 4}, 4, 3.0).round();
  const at::Tensor thrice = at::cat({once, once, once});
  const PlainScores plain = plain_scores(vectors, thrice);
  for (const std::int64_t tile : {1, 4, 6, 9, 18}) {
    const at::Tensor best = score_vocabulary(vectors, thrice, tile, false).best;
    EXPECT_LT(best.max().item<std::int64_t>(), 6) << "tile " << tile;
    for (int n = 0; n < 50; ++n) EXPECT_EQ(best[n].item<std::int64_t>(), plain.best[n]) << "tile " << tile;
  }
}

TEST(VocabularyScores, LogPartitionSurvivesLargeScores) {
  const at::Tensor vectors = normal_tensor({8, 4}, 5, 100.0), codebook = normal_tensor({20, 4}, 6, 100.0);
  const at::Tensor scores = vectors.matmul(codebook.t()) * 2 - codebook.square().sum(1);
  const at::Tensor result = score_vocabulary(vectors, codebook, 3, true).log_partition;
  EXPECT_LT(largest(result - scores.logsumexp({1})) / largest(scores), 1e-14);
  const at::Tensor single = score_vocabulary(vectors.to(at::kFloat), codebook.to(at::kFloat), 3, true).log_partition;
  EXPECT_LT(largest(single.to(at::kDouble) - result) / largest(scores), 1e-5);
}

TEST(VocabularyScores, GradientEqualsFiniteDifferencesForEveryTile) {
  const at::Tensor codebook = normal_tensor({13, 4}, 7), weights = normal_tensor({9}, 8);
  for (const std::int64_t tile : {1, 5, 64}) {
    const auto weighted = [&](const at::Tensor& vectors) {
      return (score_vocabulary(vectors, codebook, tile, true).log_partition * weights).sum();
    };
    EXPECT_LT(gradient_error(weighted, normal_tensor({9, 4}, 9)), 1e-8) << "tile " << tile;
  }
}

// Cosine distance is that of directions, whatever the lengths; the temperature divides distances.
TEST(VocabularyScores, MetricEqualsPlainLoopsOverDirectionsAtATemperature) {
  const at::Tensor vectors = normal_tensor({23, 5}, 21), codebook = normal_tensor({31, 5}, 22);
  const auto direction = [](const at::Tensor& rows) { return rows / rows.square().sum(1, true).sqrt(); };
  for (const double temperature : {1.0, 0.1, 5.0}) {
    const double root = std::sqrt(temperature);
    const PlainScores cosine = plain_scores(direction(vectors) / root, direction(codebook) / root);
    const PlainScores euclidean = plain_scores(vectors / root, codebook / root);
    for (const std::int64_t tile : {1, 7, 4096}) {
      const auto by_cosine = score_vocabulary(vectors, codebook, tile, true, {true, temperature});
      const auto by_distance = score_vocabulary(vectors, codebook, tile, true, {false, temperature});
      for (int n = 0; n < 23; ++n) {
        EXPECT_EQ(by_cosine.best[n].item<std::int64_t>(), cosine.best[n]);
        EXPECT_EQ(by_distance.best[n].item<std::int64_t>(), euclidean.best[n]);
        EXPECT_NEAR(by_cosine.log_partition[n].item<double>(), cosine.log_partition[n], 1e-11);
        EXPECT_NEAR(by_distance.log_partition[n].item<double>(), euclidean.log_partition[n], 1e-11);
      }
    }
  }
}

TEST(VocabularyScores, GradientOfEveryMetricEqualsFiniteDifferences) {
  const at::Tensor codebook = normal_tensor({13, 4}, 23), weights = normal_tensor({9}, 24);
  for (const bool cosine : {false, true}) {
    for (const double temperature : {1.0, 0.3}) {
      const auto weighted = [&](const at::Tensor& vectors) {
        return (score_vocabulary(vectors, codebook, 5, true, {cosine, temperature}).log_partition * weights).sum();
      };
      EXPECT_LT(gradient_error(weighted, normal_tensor({9, 4}, 25)), 1e-7) << cosine << " " << temperature;
    }
  }
}

TEST(VocabularyScores, AZeroVectorHasNoDirectionAndAGradientOfZero) {
  const at::Tensor vectors = at::zeros({1, 4}, at::kDouble).set_requires_grad(true);
  const auto scores = score_vocabulary(vectors, normal_tensor({5, 4}, 26), 2, true, {.cosine = true});
  torch::autograd::backward({scores.log_partition.sum()}, {});
  EXPECT_EQ(largest(vectors.grad()), 0.0);
}

TEST(VocabularyScores, GradientReachesTheVectorsOnly) {
  const at::Tensor vectors = normal_tensor({3, 4}, 10).set_requires_grad(true);
  const at::Tensor codebook = normal_tensor({5, 4}, 11).set_requires_grad(true);
  const VocabularyScores scores = score_vocabulary(vectors, codebook, 2, true);
  EXPECT_FALSE(scores.best.requires_grad());
  torch::autograd::backward({scores.log_partition.sum()}, {});
  EXPECT_TRUE(vectors.grad().defined());
  EXPECT_FALSE(codebook.grad().defined());
}

TEST(VocabularyScores, NoVectorsMakeNoScores) {
  const at::Tensor none = at::zeros({0, 4}, at::TensorOptions(at::kFloat)).set_requires_grad(true);
  const VocabularyScores scores = score_vocabulary(none, normal_tensor({5, 4}, 12).to(at::kFloat), 2, true);
  EXPECT_EQ(scores.best.numel(), 0);
  torch::autograd::backward({scores.log_partition.sum()}, {});
  EXPECT_EQ(none.grad().sizes(), none.sizes());
}

TEST(VocabularyScores, MarginsAreTheDistanceToTheRunnerUpForEveryTile) {
  const at::Tensor vectors = normal_tensor({23, 5}, 1), codebook = normal_tensor({31, 5}, 2);
  const at::Tensor squares = (vectors.unsqueeze(1) - codebook.unsqueeze(0)).square().sum(2);  // |z - e|^2
  const at::Tensor sorted = std::get<0>(squares.sort(1));
  const at::Tensor expected = sorted.select(1, 1) - sorted.select(1, 0);
  for (const std::int64_t tile : {1, 2, 7, 31, 4096}) {
    EXPECT_LT(largest(score_margins(vectors, codebook, tile) - expected), 1e-12) << "tile " << tile;
  }
}

TEST(VocabularyScores, MarginsUnderTheCosineAreTwiceTheDifferenceOfCosines) {
  const at::Tensor vectors = normal_tensor({9, 5}, 3), codebook = normal_tensor({13, 5}, 4);
  const at::Tensor lengths = vectors.square().sum(1, true).sqrt() * codebook.square().sum(1).sqrt();
  const at::Tensor cosines = (vectors.unsqueeze(1) * codebook.unsqueeze(0)).sum(2) / lengths;
  const at::Tensor sorted = std::get<0>(cosines.sort(1, /*descending=*/true));
  const at::Tensor expected = 2 * (sorted.select(1, 0) - sorted.select(1, 1));
  EXPECT_LT(largest(score_margins(vectors, codebook, 4, {.cosine = true}) - expected), 1e-12);
}

TEST(VocabularyScores, MarginsOfTiesAreZeroAndOfOneWordInfinite) {
  const at::Tensor vectors = normal_tensor({4, 5}, 1), codebook = normal_tensor({1, 5}, 2);
  EXPECT_EQ(largest(score_margins(vectors, at::cat({codebook, codebook}), 1)), 0.0);
  EXPECT_TRUE(score_margins(vectors, codebook, 8).isinf().all().item<bool>());
  EXPECT_EQ(score_margins(vectors.slice(0, 0, 0), codebook, 8).size(0), 0);
}

}  // namespace
}  // namespace leda::models
