#include "evaluation/image_figures.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/clamp.h>
#include <ATen/ops/ones.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <string>

#include "evaluation/image_metrics.hpp"
#include "tests/support/finite_differences.hpp"

namespace leda::evaluation {
namespace {

const ct::Window kTestWindow{-1000.0, 2000.0};

at::Tensor reference_image() { return 300.0 * test::normal_tensor({32, 32}, 1); }
at::Tensor noisy_image(double deviation_hu) {
  return reference_image() + deviation_hu * test::normal_tensor({32, 32}, 2);
}

TEST(ImageFigures, HaveNamesAndLabelsOfTheirOwnAndColumnsWideEnough) {
  std::set<std::string> names, labels;
  for (const ImageFigure& figure : image_figures()) {
    EXPECT_TRUE(names.insert(figure.name).second) << figure.name;
    EXPECT_TRUE(labels.insert(figure.label).second) << figure.label;
    EXPECT_GE(figure.column_width, static_cast<int>(std::string(figure.label).size()));
    EXPECT_GE(figure.column_width, 2 * figure.num_digits + 9) << "a mean and a deviation below 10";
  }
  EXPECT_STREQ(image_figures()[kRmseFigure].name, "rmse_hu");
}

TEST(ImageFigures, EveryOneTellsLessNoiseFromMoreTheWayItSays) {
  const FigureValues good = measure_image(noisy_image(10.0), reference_image(), kTestWindow);
  const FigureValues bad = measure_image(noisy_image(80.0), reference_image(), kTestWindow);
  ASSERT_EQ(good.size(), image_figures().size());
  for (std::size_t f = 0; f < good.size(); ++f) {
    const ImageFigure& figure = image_figures()[f];
    EXPECT_TRUE(std::isfinite(good[f]) && std::isfinite(bad[f])) << figure.name;
    EXPECT_EQ(good[f] > bad[f], figure.is_larger_better) << figure.name << ": " << good[f] << " and " << bad[f];
  }
}

TEST(ImageFigures, AreTakenInTheWindowAndInTheMask) {
  at::Tensor image = noisy_image(20.0), reference = reference_image();
  at::Tensor mask = at::ones({32, 32}, at::kByte);
  mask.narrow(0, 20, 12).zero_();
  image[30][30].fill_(1500.0);  // outside the mask, and of every SSIM window in it
  const FigureValues before = measure_image(image, reference, kTestWindow, mask);
  image[30][30].fill_(-900.0);
  const FigureValues after = measure_image(image, reference, kTestWindow, mask);
  const FigureValues clipped =
      measure_image(at::clamp(image, -1000.0, 2000.0), at::clamp(reference, -1000.0, 2000.0), kTestWindow, mask);
  for (std::size_t f = 0; f < before.size(); ++f) {
    EXPECT_EQ(before[f], after[f]) << image_figures()[f].name;
    EXPECT_EQ(after[f], clipped[f]) << image_figures()[f].name;
  }
}

}  // namespace
}  // namespace leda::evaluation
