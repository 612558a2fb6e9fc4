#include "evaluation/image_metrics.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <sstream>

#include "evaluation/image_figures.hpp"
#include "tests/evaluation/raw_image.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::evaluation {
namespace {

struct Pair {
  at::Tensor x;
  at::Tensor y;
};

// y = 0.5 + 0.3 sin(2 pi i/32) cos(2 pi j/24) + 0.1 in a disc; x = y + 0.05 sin(2 pi (7i + 11j)/41).
Pair test_pair(std::int64_t n) {
  constexpr double kTurn = 2.0 * std::numbers::pi;
  const at::Tensor i = at::arange(n, at::TensorOptions(at::kDouble)).unsqueeze(1);
  const at::Tensor j = at::arange(n, at::TensorOptions(at::kDouble)).unsqueeze(0);
  const double side = static_cast<double>(n);
  const at::Tensor disc =
      ((i - side / 2).square() + (j - 3 * side / 8).square()).lt(std::pow(15.0 * side / 64.0, 2)).to(at::kDouble);
  const at::Tensor y = 0.5 + 0.3 * (i * (kTurn / 32)).sin() * (j * (kTurn / 24)).cos() + 0.1 * disc;
  return {.x = y + 0.05 * ((7 * i + 11 * j) * (kTurn / 41)).sin(), .y = y};
}

TEST(ImageMetrics, AgreeWithPublishedPackagesOnTheReferenceImages) {
  const Pair small = test_pair(128);
  EXPECT_NEAR(rmse(small.x, small.y), 0.0353553707, 1e-10);
  EXPECT_NEAR(psnr_db(small.x, small.y, 1.0), 29.0308921, 1e-7);
  EXPECT_NEAR(ssim(small.x, small.y, 1.0), 0.877209723, 1e-9);
  const Pair large = test_pair(512);
  EXPECT_NEAR(rmse(large.x, large.y), 0.0353553551, 1e-10);
  EXPECT_NEAR(psnr_db(large.x, large.y, 1.0), 29.0308959, 1e-7);
  EXPECT_NEAR(ssim(large.x, large.y, 1.0), 0.876863359, 1e-9);
}

TEST(ImageMetrics, AgreeWithScikitImageInsideAMask) {
  const Pair images = test_pair(64);
  const at::Tensor x = images.x.narrow(0, 0, 48);
  const at::Tensor y = images.y.narrow(0, 0, 48);
  const at::Tensor mask = y.gt(0.55).to(at::kByte);
  const test::TemporaryFolder folder;
  test::save_raw(folder.path() / "x.raw", x);
  test::save_raw(folder.path() / "y.raw", y);
  test::save_raw(folder.path() / "mask.raw", mask);
  const test::CommandResult python =
      test::run_command(fmt::format("{} {}/tests/evaluation/image_metrics_reference.py {} 48 64", LEDA_TEST_PYTHON,
                                    LEDA_SOURCE_FOLDER, folder.path().string()));
  ASSERT_EQ(python.exit_code, 0) << python.output;
  double expected[5] = {};
  std::istringstream numbers(python.output);
  for (double& value : expected) ASSERT_TRUE(numbers >> value) << python.output;
  EXPECT_NEAR(rmse(x, y), expected[0], 1e-12);
  EXPECT_NEAR(psnr_db(x, y, 1.0), expected[1], 1e-9);
  EXPECT_NEAR(ssim(x, y, 1.0), expected[2], 1e-10);
  EXPECT_NEAR(rmse(x, y, mask), expected[3], 1e-12);
  EXPECT_NEAR(ssim(x, y, 1.0, mask), expected[4], 1e-10);
}

TEST(ImageMetrics, OfOneSliceAreTakenInsideWindowAndMask) {
  const ct::Window window{-1000.0, 2000.0};
  at::Tensor reference_hu = at::full({24, 24}, 100.0, at::kDouble);
  at::Tensor image_hu = reference_hu + 30.0;
  image_hu[0][0] = 9000.0;  // clipped to 2000: 1900 off
  const FigureValues whole = measure_image(image_hu, reference_hu, window);
  EXPECT_NEAR(whole[0], std::sqrt((575 * 900.0 + 1900.0 * 1900.0) / 576), 1e-9);
  at::Tensor mask = at::full({24, 24}, 1, at::kByte);
  mask[0][0] = 0;
  const FigureValues masked = measure_image(image_hu, reference_hu, window, mask);
  EXPECT_NEAR(masked[0], 30.0, 1e-12);
  EXPECT_NEAR(masked[1], 40.0, 1e-9);  // 20 log10(3000 / 30)
}

TEST(ImageMetrics, OfEqualImagesAreTheBestPossible) {
  const Pair images = test_pair(32);
  EXPECT_EQ(rmse(images.y, images.y), 0.0);
  EXPECT_TRUE(std::isinf(psnr_db(images.y, images.y, 1.0)));
  EXPECT_NEAR(ssim(images.y, images.y, 1.0), 1.0, 1e-12);
  EXPECT_TRUE(std::isnan(rmse(images.x, images.y, at::zeros({32, 32}, at::kByte))));
}

TEST(ImageMetrics, SsimMapHasTheInteriorsShape) {
  const Pair images = test_pair(32);
  const at::Tensor map = ssim_map(images.x.narrow(0, 0, 20), images.y.narrow(0, 0, 20), 1.0);
  EXPECT_EQ(map.size(0), 10);
  EXPECT_EQ(map.size(1), 22);
}

}  // namespace
}  // namespace leda::evaluation
