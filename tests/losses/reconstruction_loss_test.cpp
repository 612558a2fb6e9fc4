#include "losses/reconstruction_loss.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

namespace leda::losses {
namespace {

TEST(ReconstructionLoss, IsTheMeanOverEachImagesPixels) {
  const at::Tensor first = at::tensor({0.0, 1.0, 2.0, 3.0, -1.0, 0.0, 0.0, 5.0}, at::kDouble).reshape({2, 1, 2, 2});
  const at::Tensor second = at::zeros({2, 1, 2, 2}, at::kDouble);
  const at::Tensor absolute = absolute_error_per_image(first, second);
  const at::Tensor squared = squared_error_per_image(first, second);
  ASSERT_EQ(absolute.sizes(), (std::vector<std::int64_t>{2}));
  EXPECT_DOUBLE_EQ(absolute[0].item<double>(), 6.0 / 4.0);
  EXPECT_DOUBLE_EQ(absolute[1].item<double>(), 6.0 / 4.0);
  EXPECT_DOUBLE_EQ(squared[0].item<double>(), 14.0 / 4.0);
  EXPECT_DOUBLE_EQ(squared[1].item<double>(), 26.0 / 4.0);
}

TEST(ReconstructionLoss, BatchWithoutImagesHasNoErrors) {
  const at::Tensor none = at::empty({0, 1, 4, 4});
  EXPECT_EQ(absolute_error_per_image(none, none).sizes(), (std::vector<std::int64_t>{0}));
  EXPECT_EQ(squared_error_per_image(none, none).sizes(), (std::vector<std::int64_t>{0}));
}

}  // namespace
}  // namespace leda::losses
