#include "losses/perceptual_loss.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/rand.h>
#include <ATen/ops/randn.h>
#include <gtest/gtest.h>

namespace leda::losses {
namespace {

at::Generator seeded() { return at::make_generator<at::CPUGeneratorImpl>(5); }

models::PerceptualNetwork random_network(at::Generator generator) {
  std::vector<models::NamedTensor> weights;
  for (const models::NamedShape& required : models::PerceptualNetwork::required_tensors()) {
    at::Tensor values = at::randn(required.shape, generator) * 0.05;
    if (required.name.starts_with("lin")) values = values.abs();
    weights.push_back({required.name, values});
  }
  return models::PerceptualNetwork(weights, {});
}

TEST(PerceptualLoss, IsTheDistanceOfImagesMappedToMinusOneToOne) {
  at::Generator generator = seeded();
  const models::PerceptualNetwork network = random_network(generator);
  const at::Tensor first = at::rand({2, 1, 16, 16}, generator);
  at::Tensor second = at::rand({2, 1, 16, 16}, generator);
  second[0].copy_(first[0]);
  const at::Tensor loss = perceptual_loss(network, first, second);
  ASSERT_EQ(loss.sizes(), (std::vector<std::int64_t>{2}));
  EXPECT_EQ(loss[0].item<float>(), 0.0f);
  EXPECT_GT(loss[1].item<float>(), 0.0f);
  EXPECT_TRUE(at::equal(loss, network.distance(first * 2 - 1, second * 2 - 1)));
  EXPECT_FALSE(at::equal(loss, network.distance(first, second)));
  EXPECT_EQ(perceptual_loss(network, at::empty({0, 1, 16, 16}), at::empty({0, 1, 16, 16})).size(0), 0);
}

}  // namespace
}  // namespace leda::losses
