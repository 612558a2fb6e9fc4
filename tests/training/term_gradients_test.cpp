#include "training/stages/term_gradients.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <vector>

#include "distributed/core/batch_partition.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

// Images of one value each, k + 1 for image k, as `factor` times a parameter; mean square and mean as the two terms.
// Their gradients: 2 (k + 1) / count in every pixel, and weight / count.
std::vector<logging::Scalar> ratios_of(std::int64_t count, int num_ranks, const at::Tensor& parameter) {
  std::vector<logging::Scalar> ratios;
  test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
    TermGradients gradients({{"square", 1.0}, {"mean", 0.5}, {"nothing", 0.0}}, count, communicator, at::kCPU);
    const auto partition = distributed::partition_of_rank(count, communicator.rank(), communicator.size());
    for (std::int64_t image = partition.first; image <= partition.last;
         ++image) {  // one micro-batch more, without images
      const std::int64_t num_images = image < partition.last ? 1 : 0;
      const at::Tensor denoised =
          parameter * at::full({num_images, 1, 2, 2}, static_cast<double>(image + 1), at::kDouble);
      const at::Tensor square = denoised.square().sum() / static_cast<double>(count);
      const at::Tensor mean = denoised.sum() / static_cast<double>(count);
      gradients.add({square, mean, mean}, denoised);
      // The graph is still there, and nothing has arrived at the parameter.
      EXPECT_NO_THROW(torch::autograd::grad({square}, {parameter}, {}, true));
    }
    auto found = gradients.ratios();
    if (communicator.rank() == 0) ratios = std::move(found);
  });
  return ratios;
}

TEST(TermGradients, RatiosAreOfNormsOverTheImagesOfAllRanks) {
  const at::Tensor parameter = at::ones({1}, at::kDouble).set_requires_grad(true);
  for (const int num_ranks : {1, 2, 5}) {
    const std::vector<logging::Scalar> ratios = ratios_of(3, num_ranks, parameter);
    ASSERT_EQ(ratios.size(), 2u);
    EXPECT_EQ(ratios[0].name, "mean_gradient_ratio");
    EXPECT_EQ(ratios[1].name, "nothing_gradient_ratio");
    // sqrt(3 * 0.5^2) / sqrt(2^2 + 4^2 + 6^2), the four pixels and the count falling out.
    EXPECT_NEAR(ratios[0].value, std::sqrt(0.75 / 56.0), 1e-15) << num_ranks << " ranks";
    EXPECT_EQ(ratios[1].value, 0.0);
  }
  EXPECT_FALSE(parameter.grad().defined());
}

TEST(TermGradients, AFirstTermWithoutGradientHasNoRatios) {
  const at::Tensor nothing = at::ones({1}, at::kDouble).mul(0.0).set_requires_grad(true);
  EXPECT_TRUE(ratios_of(2, 2, nothing).empty());
}

}  // namespace
}  // namespace leda::training
