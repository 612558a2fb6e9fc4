#include "evaluation/dead_network.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

namespace leda::evaluation {
namespace {

at::Tensor random_images(std::uint64_t seed, double mean, double deviation, std::int64_t side = 16) {
  return at::normal(mean, deviation, {3, 1, side, side}, at::make_generator<at::CPUGeneratorImpl>(seed), at::kFloat,
                    at::kStrided, at::kCPU, false);
}

TEST(DeadNetwork, IsInputPlusAConstantAlsoBehindAReLU) {
  const at::Tensor normal = random_images(1, 0.3, 0.1).clamp(0.0, 1.0);
  const at::Tensor low = (normal + random_images(2, 0.0, 0.02)).clamp(0.0, 1.0);
  EXPECT_TRUE(is_dead(low, low, normal));
  EXPECT_TRUE(is_dead(low + 0.25, low, normal));
  EXPECT_TRUE(is_dead((low - 0.2).clamp_min(0.0), low, normal));
  EXPECT_TRUE(is_dead(at::zeros_like(low), low, normal));
}

// Hidden units that are off leave a bias, of which the borders get less through padding.
TEST(DeadNetwork, MayAddMoreInTheMiddleThanAtTheBorders) {
  const at::Tensor normal = random_images(1, 0.3, 0.1, 256).clamp(0.0, 1.0);
  const at::Tensor low = (normal + random_images(2, 0.0, 0.02, 256)).clamp(0.0, 1.0);
  const at::Tensor added = at::full({3, 1, 256, 256}, -0.05);
  added.slice(2, 0, 20).fill_(-0.01);
  EXPECT_TRUE(is_dead((low + added).clamp_min(0.0), low, normal));
  EXPECT_FALSE(is_dead((low + added + 0.1 * (normal - low)).clamp_min(0.0), low, normal));
}

// As seen in the embedded job: a few units live on and answer to dense tissue, the noise stays as it was.
TEST(DeadNetwork, MayAnswerToAnatomyWithoutTouchingTheNoise) {
  const at::Tensor normal = random_images(1, 0.3, 0.1, 256);
  const at::Tensor low = normal + random_images(2, 0.0, 0.02, 256);
  EXPECT_TRUE(is_dead(low + 0.02 * normal.gt(0.4).to(at::kFloat), low, normal));
}

TEST(DeadNetwork, IsNotOneThatChangesTheNoise) {
  const at::Tensor normal = random_images(1, 0.3, 0.1);
  const at::Tensor low = normal + random_images(2, 0.0, 0.02);
  EXPECT_FALSE(is_dead(normal, low, normal));
  EXPECT_FALSE(is_dead(low + 0.02 * (normal - low), low, normal));
  EXPECT_TRUE(is_dead(low + 0.005 * (normal - low), low, normal));
  EXPECT_FALSE(is_dead(low, low, low)) << "without noise nothing can be said";
}

TEST(DeadNetwork, SumsOverBatchesAddUp) {
  const at::Tensor normal = random_images(1, 0.3, 0.1);
  const at::Tensor low = normal + random_images(2, 0.0, 0.02);
  const at::Tensor output = low + 0.5 * (normal - low);
  DeadNetworkSums whole;
  whole.add(output, low, normal);
  DeadNetworkSums first;
  DeadNetworkSums second;
  first.add(output.narrow(0, 0, 1), low.narrow(0, 0, 1), normal.narrow(0, 0, 1));
  second.add(output.narrow(0, 1, 2), low.narrow(0, 1, 2), normal.narrow(0, 1, 2));
  second.add(output.narrow(0, 0, 0), low.narrow(0, 0, 0), normal.narrow(0, 0, 0));
  first.sums() += second.sums();
  EXPECT_NEAR(first.share(), whole.share(), 1e-12);
  EXPECT_NEAR(whole.share(), 0.5, 1e-6);
  EXPECT_FALSE(DeadNetworkSums().is_dead());
}

}  // namespace
}  // namespace leda::evaluation
