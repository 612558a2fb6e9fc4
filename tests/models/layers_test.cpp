#include "models/layers.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/batch_norm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <stdexcept>
#include <vector>

#include "distributed/differentiable_sum.hpp"
#include "tests/support/finite_differences.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

const SumOverRanks kOneRank = [](const at::Tensor& tensor) { return tensor; };

TensorSettings settings_of(at::ScalarType type) { return {.dtype = type, .seed = 17}; }

TEST(Layers, ConvolutionsStartAsInPyTorch) {
  TensorTable table;
  const TensorScope scope(table, settings_of(at::kDouble));
  const Conv2d conv = make_conv2d(scope.child("c"), {.in_channels = 40, .out_channels = 50, .kernel = 3});
  const double bound = 1.0 / std::sqrt(40 * 9);
  EXPECT_LE(largest(conv.weight), bound);
  EXPECT_GT(largest(conv.weight), 0.999 * bound);
  EXPECT_LE(largest(conv.bias), bound);
  // torch.nn.ConvTranspose2d's fan-in is out_channels k^2.
  const ConvTranspose2d transposed = make_conv_transpose2d(scope.child("t"), 40, 10, 5);
  EXPECT_LE(largest(transposed.weight), 1.0 / std::sqrt(10 * 25));
  EXPECT_GT(largest(transposed.weight), 0.999 / std::sqrt(10 * 25));
}

TEST(Layers, TransposedConvolutionIsAFullCorrelationWithTheMirroredKernel) {
  TensorTable table;
  const ConvTranspose2d conv = make_conv_transpose2d(TensorScope(table, settings_of(at::kDouble)), 6, 3, 5);
  const at::Tensor input = normal_tensor({2, 6, 9, 7}, 1), weights = normal_tensor({2, 3, 13, 11}, 2);
  const at::Tensor own = conv(input);
  const at::Tensor reference = at::conv2d(input, conv.weight.transpose(0, 1).flip({2, 3}), conv.bias, 1, 4);
  ASSERT_EQ(own.sizes(), reference.sizes());
  EXPECT_LT(largest(own - reference), 1e-13);
  const at::Tensor own_gradient = torch::autograd::grad({(own * weights).sum()}, {conv.weight})[0];
  const at::Tensor gradient = torch::autograd::grad({(reference * weights).sum()}, {conv.weight})[0];
  EXPECT_LT(largest(own_gradient - gradient), 1e-11);
}

TEST(Layers, GroupsAreReducedToDivideTheChannels) {
  TensorTable table;
  const TensorScope scope(table, settings_of(at::kFloat));
  EXPECT_EQ(make_group_norm(scope.child("a"), 64, 32).num_groups, 32);
  EXPECT_EQ(make_group_norm(scope.child("b"), 16, 32).num_groups, 16);
  EXPECT_EQ(make_group_norm(scope.child("c"), 48, 32).num_groups, 24);
  EXPECT_EQ(make_group_norm(scope.child("d"), 7, 4).num_groups, 1);
}

TEST(Layers, GroupNormAcceptsNoImages) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    TensorTable table;
    const GroupNorm norm = make_group_norm(TensorScope(table, settings_of(type)), 8, 4);
    const at::Tensor none = at::zeros({0, 8, 4, 4}, at::TensorOptions(type)).set_requires_grad(true);
    torch::autograd::backward({norm(none).sum()}, {});
    EXPECT_EQ(largest(norm.weight.grad()), 0.0);
    EXPECT_TRUE(none.grad().defined());
  }
}

struct OwnBatchNorm {
  TensorTable table;
  BatchNorm norm;
  explicit OwnBatchNorm(std::int64_t channels, at::ScalarType type = at::kDouble)
      : norm(make_batch_norm(TensorScope(table, settings_of(type)), channels, Initialisation::normal(1.0, 0.1))) {}
};

TEST(BatchNorm, EqualsPyTorchsInTrainingAndEvaluation) {
  const OwnBatchNorm own(5);
  at::Tensor mean = at::zeros({5}, at::TensorOptions(at::kDouble)), var = at::ones({5}, at::TensorOptions(at::kDouble));
  for (int step = 0; step < 3; ++step) {
    const at::Tensor input = normal_tensor({4, 5, 6, 7}, 20 + step) * 3 + 2;
    const at::Tensor reference =
        at::batch_norm(input, own.norm.weight, own.norm.bias, mean, var, true, 0.1, 1e-5, false);
    EXPECT_LT(largest(own.norm(input, true, kOneRank) - reference), 1e-12);
  }
  EXPECT_LT(largest(own.norm.running_mean - mean), 1e-13);
  EXPECT_LT(largest(own.norm.running_var - var), 1e-12);
  EXPECT_EQ(own.norm.num_batches_tracked.item<std::int64_t>(), 3);
  const at::Tensor input = normal_tensor({2, 5, 3, 3}, 30);
  const at::Tensor reference =
      at::batch_norm(input, own.norm.weight, own.norm.bias, mean, var, false, 0.1, 1e-5, false);
  const SumOverRanks never = [](const at::Tensor&) -> at::Tensor { throw std::logic_error("a call in evaluation"); };
  EXPECT_LT(largest(own.norm(input, false, never) - reference), 1e-12);
  EXPECT_EQ(own.norm.num_batches_tracked.item<std::int64_t>(), 3);
}

TEST(BatchNorm, GradientEqualsFiniteDifferences) {
  const OwnBatchNorm own(3);
  const at::Tensor weights = normal_tensor({2, 3, 4, 3}, 31);
  const auto weighted = [&](const at::Tensor& input) { return (own.norm(input, true, kOneRank) * weights).sum(); };
  EXPECT_LT(gradient_error(weighted, normal_tensor({2, 3, 4, 3}, 32)), 1e-7);
}

TEST(BatchNorm, VarianceSurvivesALargeMeanInFloat32) {
  const OwnBatchNorm own(2, at::kFloat);
  const at::Tensor input = normal_tensor({4, 2, 16, 16}, 33);
  const at::Tensor plain = own.norm(input.to(at::kFloat), true, kOneRank);
  const at::Tensor shifted = own.norm((input + 1000).to(at::kFloat), true, kOneRank);
  EXPECT_LT(largest(shifted - plain), 1e-3);
}

// Ranks with 3, 0 and 1 of four images against one rank with all: values, gradients and running statistics.
TEST(BatchNorm, RanksTogetherEqualOneBatch) {
  const at::Tensor images = normal_tensor({4, 3, 5, 5}, 34) * 2 + 1, weights = normal_tensor({4, 3, 5, 5}, 35);
  const OwnBatchNorm whole(3);
  const at::Tensor input = images.clone().set_requires_grad(true);
  const at::Tensor output = whole.norm(input, true, kOneRank);
  torch::autograd::backward({(output * weights).sum()}, {});

  const std::vector<std::int64_t> first{0, 3, 3}, count{3, 0, 1};
  std::vector<at::Tensor> outputs(3), input_gradients(3), weight_gradients(3), variances(3);
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    const int rank = communicator.rank();
    const SumOverRanks sum = [&](const at::Tensor& tensor) {
      return distributed::sum_over_ranks(tensor, communicator);
    };
    const OwnBatchNorm own(3);
    const at::Tensor part = images.narrow(0, first[rank], count[rank]).clone().set_requires_grad(true);
    outputs[rank] = own.norm(part, true, sum);
    torch::autograd::backward({(outputs[rank] * weights.narrow(0, first[rank], count[rank])).sum()}, {});
    input_gradients[rank] = part.grad();
    weight_gradients[rank] = own.norm.weight.grad();
    variances[rank] = own.norm.running_var;
  });
  EXPECT_LT(largest(at::cat(outputs) - output), 1e-12);
  EXPECT_LT(largest(at::cat(input_gradients) - input.grad()), 1e-12);
  EXPECT_LT(largest(weight_gradients[0] + weight_gradients[1] + weight_gradients[2] - whole.norm.weight.grad()), 1e-11);
  for (const at::Tensor& variance : variances) EXPECT_LT(largest(variance - whole.norm.running_var), 1e-12);
}

}  // namespace
}  // namespace leda::models
