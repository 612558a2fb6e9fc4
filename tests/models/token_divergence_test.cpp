#include "models/token_divergence.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/support/finite_differences.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

std::vector<double> plain_distribution(const at::Tensor& vector, const at::Tensor& codebook, double temperature) {
  const auto z = vector.accessor<double, 1>();
  const auto e = codebook.accessor<double, 2>();
  std::vector<double> shares;
  double nearest = INFINITY, sum = 0.0;
  for (std::int64_t t = 0; t < e.size(0); ++t) {
    double distance = 0.0;
    for (std::int64_t c = 0; c < z.size(0); ++c) distance += (z[c] - e[t][c]) * (z[c] - e[t][c]);
    shares.push_back(distance);
    nearest = std::min(nearest, distance);
  }
  for (double& share : shares) sum += share = std::exp((nearest - share) / temperature);
  for (double& share : shares) share /= sum;
  return shares;
}

// From the definition, whole rows at once: sum_t p_t log(p_t / q_t).
double plain_divergence(const at::Tensor& vector, const at::Tensor& reference, const at::Tensor& codebook,
                        double temperature) {
  const std::vector<double> q = plain_distribution(vector, codebook, temperature);
  const std::vector<double> p = plain_distribution(reference, codebook, temperature);
  double divergence = 0.0;
  for (std::size_t t = 0; t < p.size(); ++t) divergence += p[t] > 0.0 ? p[t] * std::log(p[t] / q[t]) : 0.0;
  return divergence;
}

TEST(TokenDivergence, EqualsItsDefinitionForEveryTileAndTemperature) {
  const at::Tensor reference = normal_tensor({17, 5}, 1), codebook = normal_tensor({31, 5}, 2);
  for (const double distance : {1e-4, 0.05, 2.0}) {
    const at::Tensor vectors = reference + normal_tensor({17, 5}, 3, distance);
    for (const double temperature : {0.5, 1.0, 4.0}) {
      for (const std::int64_t tile : {1, 7, 30, 31, 4096}) {
        const at::Tensor divergence = token_divergence(vectors, reference, codebook, temperature, tile);
        for (int n = 0; n < 17; ++n) {
          const double expected = plain_divergence(vectors[n], reference[n], codebook, temperature);
          EXPECT_NEAR(divergence[n].item<double>(), expected, 1e-13 + 1e-10 * expected)
              << "distance " << distance << ", temperature " << temperature << ", tile " << tile;
        }
      }
    }
  }
}

TEST(TokenDivergence, GradientEqualsFiniteDifferencesForEveryTile) {
  const at::Tensor reference = normal_tensor({9, 4}, 4), codebook = normal_tensor({13, 4}, 5);
  const at::Tensor weights = normal_tensor({9}, 6);
  for (const double distance : {0.03, 3.0}) {  // both sides of the change of formula
    const at::Tensor vectors = reference + normal_tensor({9, 4}, 7, distance);
    for (const std::int64_t tile : {1, 5, 64}) {
      const auto weighted = [&](const at::Tensor& moved) {
        return (token_divergence(moved, reference, codebook, 0.7, tile) * weights).sum();
      };
      EXPECT_LT(gradient_error(weighted, vectors), 1e-7) << "distance " << distance << ", tile " << tile;
    }
  }
}

TEST(TokenDivergence, GradientIsTheDifferenceOfMeanEmbeddings) {
  const at::Tensor reference = normal_tensor({6, 4}, 8), codebook = normal_tensor({12, 4}, 9);
  const at::Tensor vectors = (reference + normal_tensor({6, 4}, 10, 0.3)).set_requires_grad(true);
  const double temperature = 1.5;
  const at::Tensor divergence = token_divergence(vectors, reference, codebook, temperature, 5);
  const at::Tensor gradient = torch::autograd::grad({divergence.sum()}, {vectors})[0];
  const auto distribution = [&](const at::Tensor& z) {
    return ((z.matmul(codebook.t()) * 2 - codebook.square().sum(1)) / temperature).softmax(1);
  };
  const at::Tensor expected =
      (distribution(vectors.detach()) - distribution(reference)).matmul(codebook) * (2 / temperature);
  EXPECT_GT(largest(expected), 0.01);
  EXPECT_LT(largest(gradient - expected), 1e-13);
}

TEST(TokenDivergence, IsExactlyZeroWithoutGradientForEqualVectors) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor reference = normal_tensor({40, 6}, 11).to(type), codebook = normal_tensor({50, 6}, 12).to(type);
    const at::Tensor vectors = reference.clone().set_requires_grad(true);
    const at::Tensor divergence = token_divergence(vectors, reference, codebook, 0.1, 16);
    EXPECT_EQ(largest(divergence), 0.0);
    EXPECT_EQ(largest(torch::autograd::grad({divergence.sum()}, {vectors})[0]), 0.0);
  }
}

// A difference of log partitions would leave nothing of 1e-9 in float32.
TEST(TokenDivergence, KeepsItsDigitsInFloat32) {
  const at::Tensor reference = normal_tensor({20, 8}, 13), codebook = normal_tensor({60, 8}, 14, 0.4);
  for (const double distance : {1e-4, 1e-2, 1.0}) {
    const at::Tensor shift = normal_tensor({20, 8}, 15, distance).to(at::kFloat);
    const at::Tensor start = reference.to(at::kFloat), vectors = start + shift;
    const at::Tensor single = token_divergence(vectors, start, codebook.to(at::kFloat), 1.0, 7);
    const at::Tensor exact = token_divergence(vectors.to(at::kDouble), start.to(at::kDouble),
                                              codebook.to(at::kFloat).to(at::kDouble), 1.0, 7);
    EXPECT_GT(exact.min().item<double>(), 0.0);
    EXPECT_LT(largest((single.to(at::kDouble) - exact) / exact), 2e-4) << "distance " << distance;
  }
}

TEST(TokenDivergence, SurvivesSharpDistributions) {
  const at::Tensor codebook = normal_tensor({20, 4}, 16).to(at::kFloat);
  const at::Tensor reference = normal_tensor({8, 4}, 17, 30.0).to(at::kFloat);
  const at::Tensor vectors = normal_tensor({8, 4}, 18, 30.0).to(at::kFloat).set_requires_grad(true);
  const at::Tensor divergence = token_divergence(vectors, reference, codebook, 0.01, 6);
  const at::Tensor gradient = torch::autograd::grad({divergence.sum()}, {vectors})[0];
  for (int n = 0; n < 8; ++n) {
    const at::Tensor z = vectors[n].detach().to(at::kDouble), y = reference[n].to(at::kDouble);
    // The scores themselves, because such shares underflow.
    const auto logits = [&](const at::Tensor& v) {
      const at::Tensor e = codebook.to(at::kDouble);
      return ((e.matmul(v) * 2 - e.square().sum(1)) / 0.01).log_softmax(0);
    };
    const double expected = (logits(y).exp() * (logits(y) - logits(z))).sum().item<double>();
    EXPECT_NEAR(divergence[n].item<double>(), expected, 1e-3 * std::max(1.0, expected));
  }
  EXPECT_TRUE(gradient.isfinite().all().item<bool>());
}

TEST(TokenDivergence, GradientReachesTheVectorsOnly) {
  const at::Tensor vectors = normal_tensor({3, 4}, 19).set_requires_grad(true);
  const at::Tensor reference = normal_tensor({3, 4}, 20).set_requires_grad(true);
  const at::Tensor codebook = normal_tensor({5, 4}, 21).set_requires_grad(true);
  torch::autograd::backward({token_divergence(vectors, reference, codebook, 1.0, 2).sum()}, {});
  EXPECT_TRUE(vectors.grad().defined());
  EXPECT_FALSE(reference.grad().defined());
  EXPECT_FALSE(codebook.grad().defined());
}

TEST(TokenDivergence, NoVectorsHaveNoDivergence) {
  const at::Tensor none = at::zeros({0, 4}, at::TensorOptions(at::kFloat)).set_requires_grad(true);
  const at::Tensor divergence = token_divergence(none, none.detach(), normal_tensor({5, 4}, 22).to(at::kFloat), 1.0, 2);
  EXPECT_EQ(divergence.sizes(), (std::vector<std::int64_t>{0}));
  EXPECT_EQ(torch::autograd::grad({divergence.sum()}, {none})[0].sizes(), none.sizes());
}

}  // namespace
}  // namespace leda::models
