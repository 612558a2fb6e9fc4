#include "models/pyramid_masks.hpp"

#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "base/error.hpp"

namespace leda::models {
namespace {

std::vector<std::int64_t> num_positions(const std::vector<int>& strides, std::int64_t height, std::int64_t width) {
  std::vector<std::int64_t> counts;
  for (const PyramidLevel& level : pyramid_levels(strides, height, width)) counts.push_back(level.num_positions());
  return counts;
}

using Counts = std::vector<std::int64_t>;

TEST(PyramidMasks, OffsetsAreThePublishedOnes) {
  const auto levels = pyramid_levels({16, 4, 1}, 32, 32);
  EXPECT_EQ(levels[0].offset, 7);
  EXPECT_EQ(levels[1].offset, 3);
  EXPECT_EQ(levels[2].offset, 0);
}

TEST(PyramidMasks, CountsPerMapSize) {
  EXPECT_EQ(num_positions({16, 4, 1}, 32, 32), (Counts{4, 64, 1024}));
  EXPECT_EQ(num_positions({16, 4, 1}, 16, 16), (Counts{1, 16, 256}));
  EXPECT_EQ(num_positions({16, 4, 1}, 8, 8), (Counts{1, 4, 64}));
  EXPECT_EQ(num_positions({16, 4, 1}, 4, 4), (Counts{0, 1, 16}));
  EXPECT_EQ(num_positions({16, 4, 1}, 2, 2), (Counts{0, 0, 4}));
  EXPECT_EQ(num_positions({4, 2, 1}, 4, 4), (Counts{1, 4, 16}));
  EXPECT_EQ(num_positions({16, 4, 1}, 16, 4), (Counts{0, 4, 64}));
}

TEST(PyramidMasks, AbsentLevelsKeepTheirPlace) {
  const auto levels = pyramid_levels({16, 4, 1}, 4, 9);
  ASSERT_EQ(levels.size(), 3u);
  EXPECT_FALSE(levels[0].exists());
  EXPECT_TRUE(levels[1].exists() && levels[2].exists());
}

TEST(PyramidMasks, PositionsAreNestedAndInsideTheMap) {
  for (const std::vector<int>& strides : {std::vector{16, 4, 1}, {16, 8, 4, 2, 1}, {12, 6, 1}, {9, 3, 1}, {1}}) {
    for (int height = 1; height < 40; height += 3) {
      std::set<std::int64_t> coarser;
      for (const PyramidLevel& level : pyramid_levels(strides, height, height)) {
        std::set<std::int64_t> here;
        for (std::int64_t row = level.offset; row < height; row += level.stride) here.insert(row);
        EXPECT_EQ(static_cast<std::int64_t>(here.size()), level.rows);
        for (const std::int64_t row : coarser) EXPECT_TRUE(here.contains(row)) << "stride " << level.stride;
        coarser = std::move(here);
      }
      EXPECT_EQ(static_cast<int>(coarser.size()), height);
    }
  }
}

TEST(PyramidMasks, RefusesStridesThatAreNoPyramid) {
  for (const std::vector<int>& strides :
       {std::vector<int>{}, {16, 4}, {16, 6, 1}, {4, 4, 1}, {1, 4}, {4, 0, 1}, {4, -2, 1}}) {
    EXPECT_THROW(pyramid_levels(strides, 8, 8), base::Error);
  }
}

}  // namespace
}  // namespace leda::models
