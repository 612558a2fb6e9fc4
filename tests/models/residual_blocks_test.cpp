#include "models/residual_blocks.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/finite_differences.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

const TensorSettings kDoubles{.dtype = at::kDouble, .seed = 4};

TEST(ResidualBlocks, SwishIsInputTimesSigmoid) {
  const at::Tensor input = normal_tensor({50}, 1, 3.0), output = swish(input);
  for (int i = 0; i < 50; ++i) {
    const double x = input[i].item<double>();
    EXPECT_NEAR(output[i].item<double>(), x / (1 + std::exp(-x)), 1e-14);
  }
}

TEST(ResidualBlocks, ShortcutExistsWhereChannelsChange) {
  TensorTable table;
  const TensorScope scope(table, kDoubles);
  EXPECT_FALSE(make_residual_block(scope.child("a"), 8, 8, 4).nin_shortcut.has_value());
  const ResidualBlock block = make_residual_block(scope.child("b"), 8, 12, 4);
  EXPECT_TRUE(block.nin_shortcut.has_value());
  EXPECT_EQ(block(normal_tensor({2, 8, 5, 6}, 2)).sizes(), (at::IntArrayRef{2, 12, 5, 6}));
}

// Softmax over keys, positions as plain numbers.
TEST(ResidualBlocks, AttentionEqualsPlainLoops) {
  TensorTable table;
  const AttentionBlock block = make_attention_block(TensorScope(table, kDoubles), 4, 2);
  const at::Tensor input = normal_tensor({1, 4, 2, 3}, 3), normed = block.norm(input);
  const at::Tensor q = block.q(normed).detach().reshape({4, 6}).contiguous();
  const at::Tensor k = block.k(normed).detach().reshape({4, 6}).contiguous();
  const at::Tensor v = block.v(normed).detach().reshape({4, 6}).contiguous();
  at::Tensor mixed = at::zeros({4, 6}, at::TensorOptions(at::kDouble));
  const auto qa = q.accessor<double, 2>(), ka = k.accessor<double, 2>(), va = v.accessor<double, 2>();
  auto ma = mixed.accessor<double, 2>();
  for (int query = 0; query < 6; ++query) {
    double weight[6], sum = 0.0;
    for (int key = 0; key < 6; ++key) {
      double product = 0.0;
      for (int c = 0; c < 4; ++c) product += qa[c][query] * ka[c][key];
      sum += weight[key] = std::exp(product / 2.0);  // sqrt(4 channels)
    }
    for (int c = 0; c < 4; ++c) {
      for (int key = 0; key < 6; ++key) ma[c][query] += va[c][key] * weight[key] / sum;
    }
  }
  EXPECT_LT(largest(block(input) - (input + block.proj_out(mixed.reshape({1, 4, 2, 3})))), 1e-13);
}

TEST(ResidualBlocks, GradientsEqualFiniteDifferences) {
  TensorTable table;
  const TensorScope scope(table, kDoubles);
  const AttentionBlock attention = make_attention_block(scope.child("attention"), 4, 2);
  const ResidualBlock residual = make_residual_block(scope.child("residual"), 4, 6, 2);
  const at::Tensor point = normal_tensor({2, 4, 3, 3}, 5);
  const at::Tensor weights = normal_tensor({2, 4, 3, 3}, 6), wide_weights = normal_tensor({2, 6, 3, 3}, 7);
  EXPECT_LT(gradient_error([&](const at::Tensor& x) { return (attention(x) * weights).sum(); }, point), 1e-7);
  EXPECT_LT(gradient_error([&](const at::Tensor& x) { return (residual(x) * wide_weights).sum(); }, point), 1e-7);
}

// With a kernel that picks its upper left pixel, padding on the left or top would shift the result; one that picks its
// lower right pixel meets the zeros of the right column and the bottom row only.
TEST(ResidualBlocks, DownsamplePadsRightAndBottomOnly) {
  TensorTable table;
  const Downsample downsample = make_downsample(TensorScope(table, kDoubles), 1);
  downsample.conv.weight.detach().zero_();
  downsample.conv.bias.detach().zero_();
  const at::Tensor input = normal_tensor({1, 1, 6, 8}, 8);
  downsample.conv.weight.detach()[0][0][0][0].fill_(1);
  EXPECT_TRUE(downsample(input).equal(input.slice(2, 0, 6, 2).slice(3, 0, 8, 2)));
  downsample.conv.weight.detach().zero_();
  downsample.conv.weight.detach()[0][0][2][2].fill_(1);
  const at::Tensor shifted = downsample(input);
  EXPECT_TRUE(shifted.slice(2, 0, 2).slice(3, 0, 3).equal(input.slice(2, 2, 6, 2).slice(3, 2, 8, 2)));
  EXPECT_EQ(largest(shifted.select(2, 2)), 0.0);
  EXPECT_EQ(largest(shifted.select(3, 3)), 0.0);
}

TEST(ResidualBlocks, UpsampleRepeatsPixels) {
  TensorTable table;
  const Upsample upsample = make_upsample(TensorScope(table, kDoubles), 1);
  upsample.conv.weight.detach().zero_();
  upsample.conv.bias.detach().zero_();
  upsample.conv.weight.detach()[0][0][1][1].fill_(1);
  const at::Tensor input = normal_tensor({1, 1, 3, 4}, 9), output = upsample(input);
  for (int row = 0; row < 2; ++row) {
    for (int column = 0; column < 2; ++column) {
      EXPECT_TRUE(output.slice(2, row, 6, 2).slice(3, column, 8, 2).equal(input));
    }
  }
}

}  // namespace
}  // namespace leda::models
