#include "models/pyramid_quantizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

#include "tests/support/finite_differences.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

// The reference case with known numbers: 64 words, 8 channels, all indices from 0.
at::Tensor reference_codebook() {
  at::Tensor codebook = at::empty({64, 8}, at::TensorOptions(at::kDouble));
  auto e = codebook.accessor<double, 2>();
  for (int t = 0; t < 64; ++t) {
    for (int c = 0; c < 8; ++c) e[t][c] = 0.1 * std::sin(0.7 * (t + 1) * (c + 1));
  }
  return codebook;
}

at::Tensor reference_latent(int size) {
  at::Tensor latent = at::empty({1, 8, size, size}, at::TensorOptions(at::kDouble));
  auto z = latent.accessor<double, 4>();
  for (int c = 0; c < 8; ++c) {
    for (int r = 0; r < size; ++r) {
      for (int k = 0; k < size; ++k)
        z[0][c][r][k] = 0.1 * std::cos(0.13 * (r + 1) * (c + 1) + 0.29 * (k + 1) * (c + 2));
    }
  }
  return latent;
}

// Mean over positions and candidate words of -log softmax, from the log partition and plain loops over the words.
double semantic_term(const LevelTokens& level, const at::Tensor& codebook, const std::vector<int>& candidates) {
  const at::Tensor z = level.inputs.reshape({-1, 8}).contiguous();
  const at::Tensor partition = level.log_partition.reshape({-1}).contiguous();
  double sum = 0.0;
  for (std::int64_t p = 0; p < z.size(0); ++p) {
    for (const int candidate : candidates) {
      double score = 0.0;
      for (int c = 0; c < 8; ++c) {
        const double e = codebook.const_data_ptr<double>()[candidate * 8 + c];
        score += 2 * z.const_data_ptr<double>()[p * 8 + c] * e - e * e;
      }
      sum += partition.const_data_ptr<double>()[p] - score;
    }
  }
  return sum / static_cast<double>(z.size(0) * static_cast<std::int64_t>(candidates.size()));
}

const std::vector<std::vector<int>> kCandidates{{0, 5}, {0, 5, 9}, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}};

struct Expected {
  std::vector<std::vector<std::int64_t>> first_tokens;  // per level, empty where absent
  std::vector<std::int64_t> token_sums;
  double commitment, commitment_final_count;
  std::vector<double> semantic;
  double mean_square, mean_square_error;
};

void expect_reference_case(int size, std::int64_t tile, const Expected& expected) {
  const at::Tensor codebook = reference_codebook(), latent = reference_latent(size);
  const QuantizedLatent result = quantize_pyramid(latent, codebook, {16, 4, 1}, tile, {.log_partition = true});
  ASSERT_EQ(result.levels.size(), 3u);
  for (std::size_t l = 0; l < 3; ++l) {
    ASSERT_EQ(result.levels[l].exists, !expected.first_tokens[l].empty()) << "level " << l + 1;
    if (!result.levels[l].exists) continue;
    const at::Tensor tokens = result.levels[l].tokens.reshape({-1});
    for (std::size_t i = 0; i < expected.first_tokens[l].size(); ++i) {
      EXPECT_EQ(tokens[static_cast<std::int64_t>(i)].item<std::int64_t>(), expected.first_tokens[l][i]);
    }
    EXPECT_EQ(tokens.sum().item<std::int64_t>(), expected.token_sums[l]);
    EXPECT_NEAR(semantic_term(result.levels[l], codebook, kCandidates[l]), expected.semantic[l], 1e-9);
  }
  EXPECT_NEAR(result.commitment[0].item<double>(), expected.commitment, 1e-12);
  EXPECT_NEAR(result.quantized.square().mean().item<double>(), expected.mean_square, 1e-12);
  EXPECT_NEAR((result.quantized - latent).square().mean().item<double>(), expected.mean_square_error, 1e-12);
  const QuantizedLatent published =
      quantize_pyramid(latent, codebook, {16, 4, 1}, tile, {.final_count_in_commitment = true});
  EXPECT_NEAR(published.commitment[0].item<double>(), expected.commitment_final_count, 1e-12);
}

TEST(PyramidQuantizer, ReferenceNumbersOfThreeLevels) {
  const Expected expected{.first_tokens = {{3, 6, 9, 14}, {8, 4, 58, 60, 62, 8, 8, 8}, {18, 61, 8, 60, 6, 59, 5, 58}},
                          .token_sums = {32, 1810, 28521},
                          .commitment = 0.002729062546,
                          .commitment_final_count = 0.002746552622,
                          .semantic = {4.156705453, 4.164568733, 4.159670826},
                          .mean_square = 0.004025193758,
                          .mean_square_error = 0.002557642746};
  for (const std::int64_t tile : {1, 7, 64}) expect_reference_case(32, tile, expected);
}

TEST(PyramidQuantizer, ReferenceNumbersOfAMapWithoutLevelOne) {
  expect_reference_case(4, 7,
                        {.first_tokens = {{}, {8}, {18, 61, 8, 60, 63, 25, 8, 24}},
                         .token_sums = {0, 8, 574},
                         .commitment = 0.002826433107,
                         .commitment_final_count = 0.002824431860,
                         .semantic = {0, 4.178178321, 4.161000403},
                         .mean_square = 0.004523159471,
                         .mean_square_error = 0.002507337821});
}

TEST(PyramidQuantizer, ImagesOfABatchDoNotMeet) {
  const at::Tensor codebook = normal_tensor({30, 6}, 1), latent = normal_tensor({3, 6, 8, 12}, 2);
  const QuantizedLatent all = quantize_pyramid(latent, codebook, {16, 4, 1}, 8, {.log_partition = true});
  for (int b = 0; b < 3; ++b) {
    const QuantizedLatent one =
        quantize_pyramid(latent.narrow(0, b, 1), codebook, {16, 4, 1}, 8, {.log_partition = true});
    EXPECT_LT(largest(one.quantized[0] - all.quantized[b]), 1e-14);
    EXPECT_NEAR(one.commitment[0].item<double>(), all.commitment[b].item<double>(), 1e-13);
    for (std::size_t l = 0; l < 3; ++l) {
      EXPECT_TRUE(one.levels[l].tokens[0].equal(all.levels[l].tokens[b]));
      EXPECT_LT(largest(one.levels[l].log_partition[0] - all.levels[l].log_partition[b]), 1e-12);
    }
  }
}

TEST(PyramidQuantizer, LevelsWorkOnTheResidualAgainstTheLatent) {
  const at::Tensor codebook = normal_tensor({30, 6}, 3), latent = normal_tensor({1, 6, 8, 8}, 4);
  const QuantizedLatent result = quantize_pyramid(latent, codebook, {4, 2, 1}, 8, {});
  // Position (1, 1) belongs to all three levels, and is the first of each but the last.
  const at::Tensor z = latent.select(3, 1).select(2, 1)[0];
  const at::Tensor e1 = codebook[result.levels[0].tokens[0][0][0].item<std::int64_t>()];
  const at::Tensor e2 = codebook[result.levels[1].tokens[0][0][0].item<std::int64_t>()];
  const at::Tensor e3 = codebook[result.levels[2].tokens[0][1][1].item<std::int64_t>()];
  EXPECT_LT(largest(result.levels[0].inputs[0][0][0] - z), 1e-14);
  EXPECT_LT(largest(result.levels[1].inputs[0][0][0] - (z + (z - e1))), 1e-14);
  EXPECT_LT(largest(result.levels[2].inputs[0][1][1] - (z + (z - e1) + (z - e2))), 1e-14);
  EXPECT_LT(largest(result.quantized.select(3, 1).select(2, 1)[0] - (e1 + e2 + e3) / 3), 1e-14);
}

TEST(PyramidQuantizer, GradientOfTheLogPartitionPassesTheResiduals) {
  const at::Tensor codebook = normal_tensor({20, 4}, 5);
  const auto total = [&](const at::Tensor& latent) {
    const QuantizedLatent result = quantize_pyramid(latent, codebook, {4, 2, 1}, 7, {.log_partition = true});
    at::Tensor sum = at::zeros({}, latent.options());
    for (const LevelTokens& level : result.levels) sum = sum + level.log_partition.mean();
    return sum;
  };
  EXPECT_LT(gradient_error(total, normal_tensor({2, 4, 5, 6}, 6), 120, 1e-6), 1e-7);
}

TEST(PyramidQuantizer, GradientOfTheInputsCountsTheLevels) {
  const at::Tensor codebook = normal_tensor({20, 4}, 5);
  const at::Tensor latent = normal_tensor({1, 4, 4, 4}, 7).set_requires_grad(true);
  const QuantizedLatent result = quantize_pyramid(latent, codebook, {4, 2, 1}, 7, {});
  const at::Tensor gradient = torch::autograd::grad({result.levels[2].inputs.sum()}, {latent})[0][0][0];
  EXPECT_EQ(gradient[0][0].item<double>(), 1.0);  // level 3 alone
  EXPECT_EQ(gradient[3][1].item<double>(), 2.0);  // levels 2 and 3
  EXPECT_EQ(gradient[1][1].item<double>(), 3.0);  // all
}

TEST(PyramidQuantizer, GradientOfTheCommitmentHoldsTheEmbeddingsFixed) {
  const at::Tensor codebook = normal_tensor({20, 4}, 8), weights = normal_tensor({2}, 9);
  const auto weighted = [&](const at::Tensor& latent) {
    return (quantize_pyramid(latent, codebook, {4, 2, 1}, 7, {}).commitment * weights).sum();
  };
  EXPECT_LT(gradient_error(weighted, normal_tensor({2, 4, 5, 6}, 10), 120, 1e-6), 1e-6);
}

TEST(PyramidQuantizer, StraightThroughHasTheExactValueAndTheIdentityGradient) {
  const at::Tensor codebook = normal_tensor({20, 4}, 11).to(at::kFloat);
  const at::Tensor latent = normal_tensor({2, 4, 8, 8}, 12, 50.0).to(at::kFloat).set_requires_grad(true);
  const at::Tensor weights = normal_tensor({2, 4, 8, 8}, 13).to(at::kFloat);
  const QuantizedLatent result = quantize_pyramid(latent, codebook, {4, 2, 1}, 7, {});
  EXPECT_TRUE(result.straight_through.equal(result.quantized));
  EXPECT_FALSE(result.quantized.requires_grad());
  EXPECT_TRUE(torch::autograd::grad({(result.straight_through * weights).sum()}, {latent})[0].equal(weights));
}

TEST(PyramidQuantizer, WithoutGradientsNothingIsInTheGraph) {
  const at::Tensor latent = normal_tensor({1, 4, 8, 8}, 14).set_requires_grad(true);
  const QuantizedLatent result =
      quantize_pyramid(latent, normal_tensor({20, 4}, 15), {4, 2, 1}, 7, {.log_partition = true, .gradients = false});
  EXPECT_FALSE(result.straight_through.requires_grad());
  EXPECT_FALSE(result.commitment.requires_grad());
  EXPECT_FALSE(result.levels[2].inputs.requires_grad());
  EXPECT_FALSE(result.levels[2].log_partition.requires_grad());
}

TEST(PyramidQuantizer, NoImagesMakeEmptyResultsInTheGraph) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const at::Tensor latent = at::zeros({0, 4, 8, 8}, at::TensorOptions(type)).set_requires_grad(true);
    const QuantizedLatent result =
        quantize_pyramid(latent, normal_tensor({20, 4}, 16).to(type), {16, 4, 1}, 7, {.log_partition = true});
    EXPECT_EQ(result.levels[1].tokens.sizes(), (at::IntArrayRef{0, 2, 2}));
    at::Tensor total = result.commitment.sum() + result.straight_through.sum();
    for (const LevelTokens& level : result.levels) total = total + level.log_partition.sum();
    torch::autograd::backward({total}, {});
    EXPECT_EQ(latent.grad().sizes(), latent.sizes());
  }
}

TEST(PyramidQuantizer, MarginsAreThoseOfEachLevelsInputs) {
  const at::Tensor codebook = reference_codebook();
  const QuantizedLatent result =
      quantize_pyramid(reference_latent(8), codebook, {4, 2, 1}, 7, {.gradients = false, .margins = true});
  for (const LevelTokens& level : result.levels) {
    const at::Tensor squares = (level.inputs.unsqueeze(3) - codebook).square().sum(4);  // B x rows x columns x V
    const at::Tensor sorted = std::get<0>(squares.sort(3));
    ASSERT_TRUE(level.margins.sizes() == level.tokens.sizes());
    EXPECT_LT(largest(level.margins - (sorted.select(3, 1) - sorted.select(3, 0))), 1e-12);
  }
  EXPECT_FALSE(quantize_pyramid(reference_latent(8), codebook, {1}, 7, {}).levels[0].margins.defined());
}

}  // namespace
}  // namespace leda::models
