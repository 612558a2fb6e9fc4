#include "pictures/curves.hpp"

#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "tests/support/temporary_folder.hpp"

namespace leda::pictures {
namespace {

// Rows and columns of the pixels of a curve's colour: [N, 2].
at::Tensor pixels_of(const at::Tensor& picture, int red, int green, int blue) {
  return (picture.select(2, 0).eq(red) * picture.select(2, 1).eq(green) * picture.select(2, 2).eq(blue)).nonzero();
}

at::Tensor first_curve(const at::Tensor& picture) { return pixels_of(picture, 255, 176, 0); }
at::Tensor second_curve(const at::Tensor& picture) { return pixels_of(picture, 86, 180, 233); }

// Without a label a curve's colour is in its plot alone.
Chart rising() { return {.title = "t", .curves = {{.label = "", .points = {{0, 0}, {100, 50}}}}}; }

TEST(Curves, RunFromTheLowerLeftToTheUpperRight) {
  const at::Tensor points = first_curve(draw_charts({rising()}, "steps"));
  ASSERT_GT(points.size(0), 100);
  const at::Tensor rows = points.select(1, 0), columns = points.select(1, 1);
  const std::int64_t top = rows.min().item<std::int64_t>(), left = columns.min().item<std::int64_t>();
  EXPECT_NEAR(rows.max().item<double>() - static_cast<double>(top), 199.0, 3.0);
  EXPECT_NEAR(columns.max().item<double>() - static_cast<double>(left), 594.0, 3.0);
  EXPECT_GT(columns.masked_select(rows.eq(top)).min().item<std::int64_t>(), left + 500);  // high where late
}

TEST(Curves, ShareTheAxesOfTheirChartAndOfAllCharts) {
  Chart two = rising();
  two.curves.push_back({.label = "", .points = {{0, 25}, {50, 25}}});
  const at::Tensor flat = second_curve(draw_charts({two}, "steps"));
  const at::Tensor rows = flat.select(1, 0), columns = flat.select(1, 1);
  EXPECT_LE((rows.max() - rows.min()).item<std::int64_t>(), 1);
  EXPECT_NEAR((columns.max() - columns.min()).item<double>(), 297.0, 3.0);  // half of the steps
  const at::Tensor one = draw_charts({rising()}, "steps"), both = draw_charts({rising(), rising()}, "steps");
  EXPECT_GT(both.size(0), one.size(0) + 200);
  EXPECT_EQ(both.size(1), one.size(1));
  EXPECT_EQ(first_curve(both).size(0), 2 * first_curve(one).size(0));
}

TEST(Curves, WhatIsNotFiniteIsLeftOut) {
  Chart chart = rising();
  chart.curves[0].points.push_back({150, std::nan("")});
  chart.curves[0].points.push_back({HUGE_VAL, 3});
  EXPECT_TRUE(draw_charts({chart}, "steps").equal(draw_charts({rising()}, "steps")));
  EXPECT_EQ(first_curve(draw_charts({{.title = "none", .curves = {}}}, "steps")).size(0), 0);
  EXPECT_GT(first_curve(draw_charts({{.title = "one", .curves = {{.label = "", .points = {{5, 5}}}}}}, "x")).size(0),
            0);
}

TEST(Curves, AreWrittenAsAPicture) {
  const test::TemporaryFolder folder;
  write_charts_png(folder.path() / "curves.png", {rising()}, "steps");
  EXPECT_GT(std::filesystem::file_size(folder.path() / "curves.png"), 500u);
}

}  // namespace
}  // namespace leda::pictures
