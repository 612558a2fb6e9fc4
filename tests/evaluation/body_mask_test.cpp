#include "evaluation/body_mask.hpp"

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace leda::evaluation {
namespace {

// '#' tissue, '.' air.
at::Tensor image_hu(const std::vector<std::string>& rows) {
  at::Tensor image =
      at::full({static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows[0].size())}, -1000, at::kShort);
  auto cells = image.accessor<std::int16_t, 2>();
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < rows[r].size(); ++c) {
      if (rows[r][c] == '#') cells[static_cast<std::int64_t>(r)][static_cast<std::int64_t>(c)] = 40;
    }
  }
  return image;
}

std::vector<std::string> text_of(const at::Tensor& mask) {
  std::vector<std::string> rows;
  const auto cells = mask.accessor<std::uint8_t, 2>();
  for (std::int64_t r = 0; r < mask.size(0); ++r) {
    rows.emplace_back();
    for (std::int64_t c = 0; c < mask.size(1); ++c) rows.back() += cells[r][c] ? '#' : '.';
  }
  return rows;
}

TEST(BodyMask, HoldsEnclosedAirAndLeavesOutIslandsAndTable) {
  const std::vector<std::string> image{"..........",   //
                                       "..#####...",   //
                                       "..#...#.#.",   // lung inside, island outside
                                       "..#...#...",   //
                                       "..#####...",   //
                                       "..........",   //
                                       ".########."};  // table
  const std::vector<std::string> body{"..........",    //
                                      "..#####...",    //
                                      "..#####...",    //
                                      "..#####...",    //
                                      "..#####...",    //
                                      "..........",    //
                                      ".........."};
  EXPECT_EQ(text_of(body_mask(image_hu(image))), body);
}

TEST(BodyMask, IsClosedBySkinThatTouchesAtCorners) {
  const std::vector<std::string> image{".......",  //
                                       "...#...",  //
                                       "..#.#..",  //
                                       ".#...#.",  //
                                       "..#.#..",  //
                                       "...#...",  //
                                       "......."};
  const std::vector<std::string> body{".......",  //
                                      "...#...",  //
                                      "..###..",  //
                                      ".#####.",  //
                                      "..###..",  //
                                      "...#...",  //
                                      "......."};
  EXPECT_EQ(text_of(body_mask(image_hu(image))), body);
}

TEST(BodyMask, LosesAirThatReachesTheBorder) {
  const std::vector<std::string> image{".......",  //
                                       ".#####.",  //
                                       ".#...#.",  //
                                       ".#.###.",  //
                                       ".#.###."};
  EXPECT_EQ(text_of(body_mask(image_hu(image))), image);
}

TEST(BodyMask, ThresholdIsMinus500Hu) {
  at::Tensor image = at::full({5, 5}, -501, at::kShort);
  image[2][2] = -500;
  EXPECT_EQ(body_mask(image).sum().item<std::int64_t>(), 1);
}

TEST(BodyMask, OfAirIsEmptyAndOfTissueFull) {
  EXPECT_EQ(body_mask(at::full({6, 7}, -1000, at::kShort)).sum().item<std::int64_t>(), 0);
  EXPECT_EQ(body_mask(at::full({6, 7}, 0, at::kShort)).sum().item<std::int64_t>(), 42);
}

}  // namespace
}  // namespace leda::evaluation
