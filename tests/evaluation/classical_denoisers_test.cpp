#include "evaluation/classical_denoisers.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/normal.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "evaluation/image_metrics.hpp"
#include "tests/evaluation/raw_image.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::evaluation {
namespace {

constexpr double kNoise = 20.0;

at::Tensor edges(std::int64_t rows, std::int64_t columns) {
  const at::Tensor i = at::arange(rows, at::TensorOptions(at::kDouble)).unsqueeze(1);
  const at::Tensor j = at::arange(columns, at::TensorOptions(at::kDouble)).unsqueeze(0);
  return 200.0 * (i - 0.5 * j).gt(4.0).to(at::kDouble) + 100.0 * (i + j).lt(20.0).to(at::kDouble);
}

at::Tensor noise(std::int64_t rows, std::int64_t columns) {
  return at::normal(0.0, kNoise, {rows, columns}, at::make_generator<at::CPUGeneratorImpl>(7), at::kDouble,
                    at::kStrided, at::kCPU, false);
}

double largest(const at::Tensor& tensor) { return tensor.abs().max().item<double>(); }

TEST(ClassicalDenoisers, AgreeWithSciPyWithTheDefinitionAndWithScikitImage) {
  const at::Tensor clean = edges(40, 36);
  const at::Tensor image = clean + noise(40, 36);
  const test::TemporaryFolder folder;
  test::save_raw(folder.path() / "image.raw", image);
  const test::CommandResult python =
      test::run_command(fmt::format("{} {}/tests/evaluation/classical_denoisers_reference.py {} 40 36 1.3 22",
                                    LEDA_TEST_PYTHON, LEDA_SOURCE_FOLDER, folder.path().string()));
  ASSERT_EQ(python.exit_code, 0) << python.output;
  EXPECT_LT(largest(gaussian_filter(image, 1.3) - test::load_raw(folder.path() / "gaussian.raw", 40, 36)), 1e-9);
  const at::Tensor denoised = non_local_means(image, 22.0);
  EXPECT_LT(largest(denoised - test::load_raw(folder.path() / "definition.raw", 40, 36)), 1e-9);

  // Another patch, a coarse exponential and a doubled weight of the pixel itself: the same denoiser, but not the same
  // digits.
  const at::Tensor theirs = test::load_raw(folder.path() / "scikit_image.raw", 40, 36);
  EXPECT_LT(rmse(denoised, theirs), 0.35 * kNoise);
  EXPECT_NEAR(rmse(denoised, clean), rmse(theirs, clean), 0.15 * kNoise);
}

TEST(ClassicalDenoisers, GaussianKeepsConstantsAndSpreadsAPoint) {
  EXPECT_LT(largest(gaussian_filter(at::full({20, 30}, 55.0, at::kDouble), 2.0) - 55.0), 1e-11);
  at::Tensor point = at::zeros({41, 41}, at::kDouble);
  point[20][20] = 1.0;
  const at::Tensor blurred = gaussian_filter(point, 2.0);
  EXPECT_NEAR(blurred.sum().item<double>(), 1.0, 1e-12);
  EXPECT_NEAR(blurred[20][23].item<double>() / blurred[20][20].item<double>(), std::exp(-9.0 / 8.0), 1e-12);
  EXPECT_LT(largest(gaussian_filter(point, 0.1) - point), 1e-15);
}

TEST(ClassicalDenoisers, NonLocalMeansTendsToTheImageAndToTheMean) {
  const at::Tensor image = edges(24, 24) + noise(24, 24);
  EXPECT_LT(largest(non_local_means(image, 0.5) - image), 1e-6);
  const double mean = image.slice(0, 6, 19).slice(1, 6, 19).mean().item<double>();
  EXPECT_NEAR(non_local_means(image, 1e8)[12][12].item<double>(), mean, 1e-6);
}

TEST(ClassicalDenoisers, NonLocalMeansRemovesNoiseAndKeepsEdges) {
  const at::Tensor clean = edges(64, 64);
  const at::Tensor image = clean + noise(64, 64);
  const double without = rmse(image, clean);
  EXPECT_LT(rmse(non_local_means(image, 1.1 * kNoise), clean), 0.6 * without);
  EXPECT_GT(rmse(gaussian_filter(image, 2.0), clean), 0.8 * without);
}

TEST(ClassicalDenoisers, TuningFindsTheMinimumOnALogarithmicScale) {
  int num_calls = 0;
  const auto cost = [&](double x) {
    ++num_calls;
    return std::pow(std::log(x / 7.0), 2) + 3.0;
  };
  const TunedParameter tuned = tune_parameter(cost, 0.5, 50.0, 16);
  EXPECT_EQ(num_calls, 16);
  EXPECT_NEAR(tuned.value, 7.0, 0.05);
  EXPECT_NEAR(tuned.cost, 3.0, 1e-4);
}

}  // namespace
}  // namespace leda::evaluation
