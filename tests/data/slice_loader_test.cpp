#include "data/slice_loader.hpp"

#include <ATen/ops/allclose.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "ct/tissue.hpp"
#include "tests/data/tiny_shards.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::data {
namespace {

using base::ExitCode;
using test::kFullShape;
using test::refusal_message;
using testing::AllOf;
using testing::HasSubstr;

// A slice whose pixel at (row, column) is 100 row + column - 500 HU in both doses, and whose label is its column mod 8:
// where a pixel went shows where it came from.
void write_numbered_shard(const std::filesystem::path& path, std::int64_t rows, std::int64_t columns) {
  const ShardShape shape{.rows = rows, .columns = columns, .has_low_dose = true, .has_tissue = true};
  ShardWriter writer(path, shape);
  const at::Tensor row = at::arange(rows, at::kLong).unsqueeze(1), column = at::arange(columns, at::kLong).unsqueeze(0);
  for (int i = 0; i < 8; ++i) {
    Slice slice = test::make_slice(i, shape);
    slice.normal_dose_hu = (100 * row + column - 500).to(at::kShort);
    slice.low_dose_hu = slice.normal_dose_hu.clone();
    slice.tissue = (row * 0 + column).remainder(8).to(at::kByte);
    writer.append(slice);
  }
  writer.finish();
}

std::vector<SampleRef> samples(std::int64_t num_epochs, std::int64_t num_slices) {
  std::vector<SampleRef> all;
  for (std::int64_t epoch = 0; epoch < num_epochs; ++epoch) {
    for (std::int64_t slice = 0; slice < num_slices; ++slice) all.push_back({epoch, slice});
  }
  return all;
}

const ct::Window kUnitWindow{0.0, 1.0};

TEST(SliceLoader, GivesWholeSlicesInNetworkRangeInEitherPrecision) {
  const test::TemporaryFolder folder;
  test::write_tiny_shard(folder.path() / "a.h5", 0, 4);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const SliceLoader loader(catalogue, {.dtype = type, .needs_low_dose = true, .needs_tissue = true});
    const ct::ImageBatch batch = loader.load(std::vector<SampleRef>{{0, 2}, {0, 1}});
    EXPECT_EQ(batch.slice_ids, (std::vector<std::int64_t>{2, 1}));
    EXPECT_EQ(batch.normal_dose.sizes().vec(), (std::vector<std::int64_t>{2, 1, 6, 8}));
    EXPECT_EQ(batch.normal_dose.scalar_type(), type);
    const Slice slice = test::make_slice(1, kFullShape);
    const auto expected = [&](const at::Tensor& hu) { return ((hu.to(type) + 1000.0) / 3000.0).clamp(0.0, 1.0); };
    EXPECT_TRUE(at::allclose(batch.normal_dose[1][0], expected(slice.normal_dose_hu), 0.0, 1e-6));
    EXPECT_TRUE(at::allclose(batch.low_dose[1][0], expected(slice.low_dose_hu), 0.0, 1e-6));
    EXPECT_TRUE(batch.tissue[1].equal(slice.tissue));
  }
}

TEST(SliceLoader, NoSamplesGiveEmptyTensorsOfTheRightShape) {
  const test::TemporaryFolder folder;
  test::write_tiny_shard(folder.path() / "a.h5", 0, 1);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const SliceLoader loader(catalogue, {.dtype = at::kDouble, .crop = 4, .needs_low_dose = true, .needs_tissue = true});
  const ct::ImageBatch batch = loader.load({});
  EXPECT_EQ(batch.size(), 0);
  EXPECT_EQ(batch.normal_dose.sizes().vec(), (std::vector<std::int64_t>{0, 1, 4, 4}));
  EXPECT_EQ(batch.low_dose.sizes().vec(), (std::vector<std::int64_t>{0, 1, 4, 4}));
  EXPECT_EQ(batch.tissue.sizes().vec(), (std::vector<std::int64_t>{0, 4, 4}));
  EXPECT_EQ(batch.low_dose.scalar_type(), at::kDouble);
  EXPECT_EQ(batch.tissue.scalar_type(), at::kByte);
}

TEST(SliceLoader, AugmentsImagesAndLabelsAlike) {
  const test::TemporaryFolder folder;
  write_numbered_shard(folder.path() / "a.h5", 10, 10);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const ct::Window window{-1000.0, 1000.0};
  const SliceLoader loader(catalogue, {.window = window,
                                       .dtype = at::kDouble,
                                       .crop = 6,
                                       .flips = true,
                                       .rotations = true,
                                       .needs_low_dose = true,
                                       .needs_tissue = true,
                                       .seed = 4});
  const ct::ImageBatch batch = loader.load(samples(20, 8));
  EXPECT_TRUE(batch.normal_dose.equal(batch.low_dose));
  const at::Tensor pixel = ct::to_hu(batch.normal_dose, window).round().to(at::kLong).squeeze(1) + 500;
  EXPECT_TRUE(batch.tissue.to(at::kLong).equal(pixel.remainder(100).remainder(8)));
}

TEST(SliceLoader, CropsAndTurnsReachEveryPlaceIncludingTheLastRowAndColumn) {
  const test::TemporaryFolder folder;
  write_numbered_shard(folder.path() / "a.h5", 10, 9);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const ct::Window window{-1000.0, 1000.0};
  const SliceLoader loader(catalogue, {.window = window, .dtype = at::kDouble, .crop = 6});
  const at::Tensor images = ct::to_hu(loader.load(samples(60, 8)).normal_dose, window).round().to(at::kLong) + 500;
  std::set<std::pair<std::int64_t, std::int64_t>> corners;
  for (std::int64_t i = 0; i < images.size(0); ++i) {
    const auto corner = images[i][0][0][0].item<std::int64_t>();
    corners.insert({corner / 100, corner % 100});
  }
  EXPECT_EQ(corners.size(), 5 * 4);
  EXPECT_TRUE(corners.contains({4, 3}));  // its last row is 9, its last column 8

  const SliceLoader turning(catalogue,
                            {.window = window, .dtype = at::kDouble, .crop = 6, .flips = true, .rotations = true});
  const at::Tensor turned = ct::to_hu(turning.load(samples(60, 8)).normal_dose, window).round().to(at::kLong);
  std::set<std::pair<std::int64_t, std::int64_t>> directions;  // steps to the right and down: 4 turns, flipped or not
  for (std::int64_t i = 0; i < turned.size(0); ++i) {
    const auto at_pixel = [&](int row, int column) { return turned[i][0][row][column].item<std::int64_t>(); };
    directions.insert({at_pixel(0, 1) - at_pixel(0, 0), at_pixel(1, 0) - at_pixel(0, 0)});
  }
  EXPECT_EQ(directions.size(), 8);
}

TEST(SliceLoader, OblongSlicesTurnByHalfTurnsOnly) {
  const test::TemporaryFolder folder;
  write_numbered_shard(folder.path() / "a.h5", 6, 8);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const SliceLoader loader(catalogue, {.flips = true, .rotations = true});
  EXPECT_EQ(loader.load(samples(10, 8)).normal_dose.sizes().vec(), (std::vector<std::int64_t>{80, 1, 6, 8}));
}

TEST(SliceLoader, AugmentationDependsOnSeedEpochAndSliceAlone) {
  const test::TemporaryFolder folder;
  write_numbered_shard(folder.path() / "a.h5", 16, 16);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  LoaderOptions options{.crop = 4, .flips = true, .rotations = true, .seed = 9};
  const SliceLoader loader(catalogue, options);
  const at::Tensor together = loader.load(std::vector<SampleRef>{{1, 5}, {1, 2}, {3, 2}}).normal_dose;
  EXPECT_TRUE(together[1].equal(loader.load(std::vector<SampleRef>{{1, 2}}).normal_dose[0]));
  EXPECT_TRUE(together[2].equal(loader.load(std::vector<SampleRef>{{3, 2}}).normal_dose[0]));
  options.seed = 10;
  const std::vector<SampleRef> many = samples(2, 8);
  EXPECT_FALSE(loader.load(many).normal_dose.equal(SliceLoader(catalogue, options).load(many).normal_dose));
}

TEST(SliceLoader, LabelsComeFromTheNormalDoseWhereTheShardHasNone) {
  const test::TemporaryFolder folder;
  const ShardShape shape{.rows = 6, .columns = 8};
  test::write_tiny_shard(folder.path() / "a.h5", 0, 2, shape);
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  const SliceLoader loader(catalogue, {.window = kUnitWindow, .needs_tissue = true});
  const ct::ImageBatch batch = loader.load(std::vector<SampleRef>{{0, 1}});
  EXPECT_TRUE(batch.tissue[0].equal(ct::tissue_of_hu(test::make_slice(1, shape).normal_dose_hu)));
  EXPECT_FALSE(batch.low_dose.defined());
}

TEST(SliceLoader, MissingLowDoseAndLargeCropsAreRefused) {
  const test::TemporaryFolder folder;
  test::write_tiny_shard(folder.path() / "a.h5", 0, 2, {.rows = 6, .columns = 8});
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { SliceLoader(catalogue, {.needs_low_dose = true}); }),
              AllOf(HasSubstr(folder.path().string()), HasSubstr("leda_data simulate")));
  EXPECT_THAT(refusal_message(ExitCode::options, [&] { SliceLoader(catalogue, {.crop = 7}); }), HasSubstr("7"));
}

}  // namespace
}  // namespace leda::data
