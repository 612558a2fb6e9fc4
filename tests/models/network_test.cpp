#include "models/network.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "tests/support/finite_differences.hpp"

namespace leda::models {
namespace {

using test::largest;

at::Tensor only_parameter(std::uint64_t seed, const std::string& prefix, const std::string& name) {
  TensorTable table;
  return TensorScope(table, {.dtype = at::kDouble, .seed = seed}, prefix)
      .parameter(name, {40, 50}, Initialisation::uniform(0.3))
      .detach();
}

TEST(Network, StartDependsOnSeedAndFullNameOnly) {
  TensorTable table;
  const TensorScope scope(table, {.dtype = at::kDouble, .seed = 5});
  scope.child("b").parameter("weight", {7}, Initialisation::normal(0, 1));
  const at::Tensor late = scope.child("a").parameter("weight", {40, 50}, Initialisation::uniform(0.3)).detach();
  EXPECT_TRUE(late.equal(only_parameter(5, "a.", "weight")));
  EXPECT_FALSE(late.equal(only_parameter(6, "a.", "weight")));
  EXPECT_FALSE(late.equal(only_parameter(5, "b.", "weight")));
}

TEST(Network, StartOfBothPrecisionsAgreesToRounding) {
  TensorTable single, full;
  const auto start = Initialisation::normal(1.0, 0.02);
  const at::Tensor a = TensorScope(single, {.dtype = at::kFloat, .seed = 3}).parameter("w", {1000}, start).detach();
  const at::Tensor b = TensorScope(full, {.dtype = at::kDouble, .seed = 3}).parameter("w", {1000}, start).detach();
  EXPECT_TRUE(a.equal(b.to(at::kFloat)));
}

TEST(Network, StartHasTheMomentsAskedFor) {
  TensorTable table;
  const TensorScope scope(table, {.dtype = at::kDouble, .seed = 1});
  const at::Tensor uniform = scope.parameter("u", {200000}, Initialisation::uniform(0.5)).detach();
  EXPECT_LE(largest(uniform), 0.5);
  EXPECT_GT(largest(uniform), 0.4999);
  EXPECT_NEAR(uniform.var().item<double>(), 0.25 / 3, 5e-4);  // b^2 / 3
  const at::Tensor normal = scope.parameter("n", {200000}, Initialisation::normal(2.0, 0.1)).detach();
  EXPECT_NEAR(normal.mean().item<double>(), 2.0, 1e-3);
  EXPECT_NEAR(normal.std().item<double>(), 0.1, 1e-3);
  EXPECT_EQ(largest(scope.parameter("c", {9}, Initialisation::constant(0.0))), 0.0);
}

TEST(Network, TableHoldsTheTensorsTheBlocksUse) {
  TensorTable table;
  const TensorScope scope = TensorScope(table, {}).child("net").child("0");
  const at::Tensor weight = scope.parameter("weight", {2}, Initialisation::constant(1.0));
  const at::Tensor state = scope.buffer("state", at::zeros({}, at::TensorOptions(at::kLong)));
  ASSERT_EQ(table.parameters.size(), 1u);
  ASSERT_EQ(table.buffers.size(), 1u);
  EXPECT_EQ(table.parameters[0].name, "net.0.weight");
  EXPECT_EQ(table.buffers[0].name, "net.0.state");
  EXPECT_TRUE(weight.is_leaf() && weight.requires_grad());
  EXPECT_FALSE(state.requires_grad());
  table.buffers[0].tensor.fill_(7);
  EXPECT_EQ(state.item<std::int64_t>(), 7);
}

TEST(Network, FreezeEndsGradients) {
  TensorTable table;
  const at::Tensor weight = TensorScope(table, {}).parameter("w", {3}, Initialisation::constant(2.0));
  torch::autograd::backward({weight.square().sum()}, {});
  ASSERT_TRUE(weight.grad().defined());
  table.freeze();
  EXPECT_FALSE(weight.grad().defined());
  EXPECT_FALSE(weight.square().requires_grad());
}

}  // namespace
}  // namespace leda::models
