#include "losses/pixel_loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "base/error.hpp"
#include "losses/reconstruction_loss.hpp"
#include "tests/support/finite_differences.hpp"
#include "tests/support/refusal.hpp"

namespace leda::losses {
namespace {

TEST(PixelLoss, EveryOneIsPerImageZeroForEqualImagesAndHasTheGradientOfFiniteDifferences) {
  std::set<std::string> names;
  for (const PixelLoss& loss : pixel_losses()) {
    SCOPED_TRACE(loss.name);
    EXPECT_TRUE(names.insert(loss.name).second);
    const at::Tensor normal_dose = test::normal_tensor({3, 1, 12, 12}, 1);
    const at::Tensor denoised = test::normal_tensor({3, 1, 12, 12}, 2);
    EXPECT_TRUE(loss.per_image(normal_dose, normal_dose).eq(0.0).all().item<bool>());
    const at::Tensor together = loss.per_image(denoised, normal_dose);
    ASSERT_EQ(together.sizes(), at::IntArrayRef({3}));
    EXPECT_TRUE(together.gt(0.0).all().item<bool>());
    for (std::int64_t i = 0; i < 3; ++i) {
      const at::Tensor alone = loss.per_image(denoised.narrow(0, i, 1), normal_dose.narrow(0, i, 1));
      EXPECT_NEAR(alone.item<double>(), together[i].item<double>(), 1e-12);
    }
    EXPECT_EQ(loss.per_image(at::zeros({0, 1, 12, 12}), at::zeros({0, 1, 12, 12})).numel(), 0);
    const auto sum = [&](const at::Tensor& image) { return loss.per_image(image, normal_dose).sum(); };
    EXPECT_LT(test::gradient_error(sum, denoised, 40, 1e-6), 1e-5);
  }
}

TEST(PixelLoss, IsReadWithItsWeight) {
  const auto losses = pixel_losses_of({"mse", "l1:0.25"});
  ASSERT_EQ(losses.size(), 2u);
  EXPECT_STREQ(losses[0].loss.name, "mse");
  EXPECT_EQ(losses[0].weight, 1.0);
  EXPECT_STREQ(losses[1].loss.name, "l1");
  EXPECT_EQ(losses[1].weight, 0.25);
  const at::Tensor a = test::normal_tensor({2, 1, 4, 4}, 1), b = test::normal_tensor({2, 1, 4, 4}, 2);
  EXPECT_TRUE(losses[0].loss.per_image(a, b).equal(squared_error_per_image(a, b)));
  EXPECT_TRUE(losses[1].loss.per_image(a, b).equal(absolute_error_per_image(a, b)));
}

TEST(PixelLoss, WhatCannotBeReadIsRefusedByName) {
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {}, {"mean"}, {"mse:"}, {"mse:0"}, {"mse:-1"}, {"mse:nan"}, {"mse:inf"}, {"mse:1x"}, {"mse", "mse:2"}}) {
    const std::string said = test::refusal_message(base::ExitCode::options, [&] { pixel_losses_of(wrong); });
    EXPECT_THAT(said, testing::AllOf(testing::HasSubstr("denoiser.losses"), testing::HasSubstr("mse, l1")));
  }
}

}  // namespace
}  // namespace leda::losses
