#include "pictures/word_map.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>

#include "pictures/word_regions.hpp"

namespace leda::pictures {
namespace {

std::int64_t count(const at::Tensor& picture, const Colour& colour) {
  return (picture.select(2, 0).eq(colour[0]) * picture.select(2, 1).eq(colour[1]) * picture.select(2, 2).eq(colour[2]))
      .sum()
      .item<std::int64_t>();
}

at::Tensor cells(const std::vector<std::int64_t>& words, std::int64_t rows) {
  return at::tensor(words, at::kLong).reshape({rows, -1});
}

// A black image of 2 x 2 cells, enlarged to 640 x 640.
WordMapPicture two_words(const at::Tensor& map) {
  const WordMapPanel panel{.label = "a",
                           .detail = "b",
                           .image_hu = at::full({64, 64}, -1000.0, at::kDouble),
                           .cells = map,
                           .cell_pixels = 32,
                           .words = {{"lung", "1", word_colour(0)}, {"", "", word_colour(1)}}};
  return {.title = "t", .detail = "d", .window = {-160.0, 240.0}, .rows = {{panel}}, .legend = {}};
}

TEST(WordColours, AreFarApartFromEachOtherAndFromTheGreyOfOtherWords) {
  for (std::size_t first = 0; first < kNumWordColours; ++first) {
    for (std::size_t second = first + 1; second <= kNumWordColours; ++second) {
      double square = 0.0;
      for (std::size_t k = 0; k < 3; ++k) {
        square += std::pow(static_cast<double>(word_colour(first)[k]) - word_colour(second)[k], 2);
      }
      EXPECT_GT(std::sqrt(square), 40.0) << first << " and " << second;
    }
  }
  EXPECT_EQ(word_colour(kNumWordColours), word_colour(kNumWordColours + 7));
}

TEST(WordMap, CellsAreTintedAndOutlinedByWord) {
  const at::Tensor picture = draw_word_maps(two_words(cells({0, 0, 1, -1}, 2)));
  const Colour first = word_colour(0), second = word_colour(1);
  // Two cells of 320 x 320 as one region, its outline of 2 pixels in the full colour.
  EXPECT_EQ(count(picture, first), 2 * (2 * 640) + 2 * 2 * (320 - 4));
  EXPECT_EQ(count(picture, second), 2 * (2 * 320) + 2 * 2 * (320 - 4));
  const auto tinted = [](std::uint8_t value) { return static_cast<std::uint8_t>(0.35 * value + 0.5); };
  const Colour inside{tinted(second[0]), tinted(second[1]), tinted(second[2])};
  EXPECT_EQ(count(picture, inside), 316 * 316) << "nothing is written into a cell without a text";
  EXPECT_GE(count(picture, {0, 0, 0}), 320 * 320) << "a cell of no word stays as it is";
}

TEST(WordMap, CaptionsAreWrittenOncePerRegionAndWhereTheyFit) {
  const Colour white{255, 255, 255};
  const std::int64_t one = count(draw_word_maps(two_words(cells({0, 0, 0, 0}, 2))), white);
  EXPECT_GT(one, 0);
  EXPECT_EQ(count(draw_word_maps(two_words(cells({0, 1, 1, 0}, 2))), white), 2 * one);
  EXPECT_EQ(count(draw_word_maps(two_words(cells({1, 1, 1, 1}, 2))), white), 0);
  WordMapPicture small = two_words(at::zeros({1, 1}, at::kLong));
  small.rows[0][0].cell_pixels = 2;  // 20 pixels on the picture: 14 for a text of 23
  const std::int64_t number = count(draw_word_maps(small), white);
  EXPECT_GT(number, 0);
  EXPECT_LT(number, one);
  small.rows[0][0].cell_pixels = 1;
  EXPECT_EQ(count(draw_word_maps(small), white), 0);
}

TEST(WordMap, LegendShowsColoursAndTextsBesideThePanels) {
  WordMapPicture picture = two_words(cells({-1, -1, -1, -1}, 2));
  const at::Tensor without = draw_word_maps(picture);
  picture.legend = {.heads = {"word", "n"}, .letters = {12, 4}, .rows = {}};
  for (std::size_t k = 0; k < 40; ++k) picture.legend.rows.push_back({word_colour(k), {"liver", "17"}});
  const at::Tensor with = draw_word_maps(picture);
  EXPECT_GT(with.size(1), without.size(1) + 16 * 12);
  EXPECT_GT(with.size(0), without.size(0)) << "a long legend is not cut off";
  for (std::size_t k = 0; k < kNumWordColours; ++k) EXPECT_EQ(count(with, word_colour(k)), 14 * 14);
  const at::Tensor beside = with.slice(1, without.size(1));
  EXPECT_GT(count(beside, {235, 235, 235}), 40 * 50) << "texts";
}

TEST(WordMap, LegendStandsInTheRoomOfAShortLastRow) {
  WordMapPicture picture = two_words(cells({-1, -1, -1, -1}, 2));
  const WordMapPanel panel = picture.rows[0][0];
  picture.rows = {{panel, panel}, {panel}};
  const at::Tensor without = draw_word_maps(picture);
  picture.legend = {.heads = {"word", "n"}, .letters = {12, 4}, .rows = {{word_colour(3), {"liver", "17"}}}};
  const at::Tensor with = draw_word_maps(picture);
  ASSERT_EQ(with.sizes(), without.sizes());
  const at::Tensor room = with.slice(0, with.size(0) / 2).slice(1, with.size(1) / 2);
  EXPECT_EQ(count(room, word_colour(3)), 14 * 14);
}

TEST(WordRegions, CaptionStandsInTheLongestRowOfEachRegion) {
  const std::vector<WordRegion> regions = word_regions(cells({5, 5, 7, 7,  //
                                                              5, 5, 5, 7,  //
                                                              5, -1, 7, 7},
                                                             3));
  ASSERT_EQ(regions.size(), 2u) << "7 is one region around the corner";
  EXPECT_EQ(regions[0].word, 5);
  EXPECT_EQ(regions[0].row, 1);
  EXPECT_EQ(regions[0].first_column, 0);
  EXPECT_EQ(regions[0].num_columns, 3);
  EXPECT_EQ(regions[1].word, 7);
  EXPECT_EQ(regions[1].num_columns, 2);
  EXPECT_EQ(word_regions(cells({1, 2, 2, 1}, 2)).size(), 4u) << "corners do not join";
}

}  // namespace
}  // namespace leda::pictures
