#include "pictures/panel.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "pictures/bitmap_font.hpp"

namespace leda::pictures {
namespace {

// Number of pixels of exactly this colour.
std::int64_t count(const at::Tensor& picture, int red, int green, int blue) {
  return (picture.select(2, 0).eq(red) * picture.select(2, 1).eq(green) * picture.select(2, 2).eq(blue))
      .sum()
      .item<std::int64_t>();
}

TEST(Panel, GreyLevelsFollowTheWindow) {
  at::Tensor image = at::full({64, 64}, -160.0, at::kDouble);
  image.slice(0, 0, 16) = 240.0;
  image.slice(0, 16, 32) = 40.0;  // the middle
  image.slice(0, 32, 48) = 5000.0;
  const at::Tensor picture = draw_panels({{{.label = "", .image_hu = image}}}, "");
  constexpr std::int64_t kStripe = 64 * 4 * 16 * 4;  // enlarged four times, to 256 pixels
  EXPECT_GE(count(picture, 255, 255, 255), 2 * kStripe);
  EXPECT_GE(count(picture, 128, 128, 128), kStripe);
  EXPECT_GE(count(picture, 0, 0, 0), kStripe);
}

TEST(Panel, DifferencesAreBlueBelowAndOrangeAboveTheReference) {
  const at::Tensor reference = at::zeros({300, 300}, at::kDouble);
  at::Tensor image = reference.clone();
  image.slice(0, 0, 100) = 50.0;
  image.slice(0, 100, 200) = -70.0;
  const PanelImage panel = difference_panel("difference", image, reference, 50.0);
  EXPECT_EQ(panel.window, (ct::Window{-50.0, 50.0}));
  const at::Tensor picture = draw_panels({{panel}}, "");
  EXPECT_GE(count(picture, 255, 140, 30), 100 * 300);
  EXPECT_GE(count(picture, 70, 150, 255), 100 * 300);
  EXPECT_GE(count(picture, 0, 0, 0), 100 * 300);
}

TEST(Panel, SizeGrowsByPanelsAndEmptyPlacesStayEmpty) {
  const PanelImage image{.label = "a", .image_hu = at::zeros({128, 128}, at::kDouble)};
  const at::Tensor one = draw_panels({{image}}, "t");
  const at::Tensor four = draw_panels({{image, image}, {image, {}}}, "t");
  EXPECT_EQ(four.size(1) - one.size(1), 2 * 128 + 12);
  EXPECT_GT(four.size(0), 2 * one.size(0) - 64);
  const at::Tensor empty_quarter = four.slice(0, one.size(0)).slice(1, one.size(1));
  EXPECT_EQ(count(empty_quarter, 24, 24, 24), empty_quarter.size(0) * empty_quarter.size(1));
}

TEST(BitmapFont, EveryLetterIsDrawnAndDiffersFromEveryOther) {
  std::set<std::string> drawn;
  for (char letter = ' '; letter <= '~'; ++letter) {
    at::Tensor picture = at::zeros({kGlyphHeight, kGlyphWidth, 3}, at::kByte);
    draw_text(picture, 0, 0, std::string(1, letter), 1, {255, 255, 255});
    const at::Tensor pixels = picture.select(2, 0).contiguous();
    drawn.emplace(static_cast<const char*>(pixels.const_data_ptr()), static_cast<std::size_t>(pixels.numel()));
  }
  EXPECT_EQ(drawn.size(), 95u);
}

TEST(BitmapFont, TextIsScaledAndCutAtTheEdge) {
  EXPECT_EQ(text_width("HU", 2), 2 * 11);
  at::Tensor picture = at::zeros({20, 20, 3}, at::kByte);
  draw_text(picture, -4, 10, "WWW", 2, {1, 2, 3});
  EXPECT_GT(picture.select(2, 1).eq(2).sum().item<std::int64_t>(), 0);
  at::Tensor bar = at::zeros({14, 10, 3}, at::kByte);
  draw_text(bar, 0, 0, "|", 2, {9, 9, 9});
  EXPECT_EQ(bar.select(2, 0).eq(9).sum().item<std::int64_t>(), 7 * 2 * 2);
}

}  // namespace
}  // namespace leda::pictures
