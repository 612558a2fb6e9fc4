#include "data/shard_catalogue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST(ShardCatalogue, NumbersSlicesThroughShardsInTheOrderOfTheirNames) {
  const test::TemporaryFolder folder;
  test::write_tiny_shard(folder.path() / "b.h5", 4, 3, kFullShape, "p2");
  test::write_tiny_shard(folder.path() / "a.h5", 0, 4, kFullShape, "p7");
  test::write_tiny_shard(folder.path() / "c.h5", 7, 1, kFullShape, "p7");
  std::ofstream(folder.path() / "notes.txt") << "no shard";
  std::ofstream(folder.path() / ".d.h5_tmp-1") << "no shard yet";
  const ShardCatalogue catalogue = ShardCatalogue::open(folder.path());
  EXPECT_EQ(catalogue.num_slices(), 8);
  EXPECT_EQ(catalogue.rows(), 6);
  EXPECT_EQ(catalogue.columns(), 8);
  EXPECT_TRUE(catalogue.has_low_dose() && catalogue.has_tissue() && catalogue.has_noise_free());
  EXPECT_EQ(catalogue.patients(), (std::vector<std::string>{"p7", "p2"}));
  for (std::int64_t id = 0; id < 8; ++id) {
    EXPECT_EQ(catalogue.record(id).position_mm, 2.0 * static_cast<double>(id));
    EXPECT_TRUE(catalogue.read_slice(id, {}).normal_dose_hu.equal(test::make_slice(id, kFullShape).normal_dose_hu));
  }
}

TEST(ShardCatalogue, FingerprintFollowsTheContent) {
  const test::TemporaryFolder first, second, third;
  for (const auto* folder : {&first, &second, &third}) test::write_tiny_shard(folder->path() / "a.h5", 0, 3);
  test::write_tiny_shard(third.path() / "b.h5", 3, 1);
  const std::string fingerprint = ShardCatalogue::open(first.path()).fingerprint();
  EXPECT_EQ(fingerprint.size(), 16);
  EXPECT_EQ(fingerprint, ShardCatalogue::open(second.path()).fingerprint());
  EXPECT_NE(fingerprint, ShardCatalogue::open(third.path()).fingerprint());
  test::write_tiny_shard(second.path() / "a.h5", 1, 3);
  EXPECT_NE(fingerprint, ShardCatalogue::open(second.path()).fingerprint());
}

TEST(ShardCatalogue, MissingAndEmptyFoldersAreRefusedWithARemedy) {
  const test::TemporaryFolder folder;
  for (const auto& path : {folder.path(), folder.path() / "missing"}) {
    EXPECT_THAT(refusal_message(ExitCode::data, [&] { ShardCatalogue::open(path); }),
                AllOf(HasSubstr(path.string()), HasSubstr("leda_data phantom"), HasSubstr("leda_data import")));
  }
}

TEST(ShardCatalogue, ShardsOfDifferentShapesAreRefusedByName) {
  for (const ShardShape& other : {ShardShape{6, 9, true, true, true}, ShardShape{5, 8, true, true, true},
                                  ShardShape{6, 8, false, true, true}, ShardShape{6, 8, true, false, true}}) {
    const test::TemporaryFolder folder;
    test::write_tiny_shard(folder.path() / "a.h5", 0, 2);
    test::write_tiny_shard(folder.path() / "b.h5", 0, 2, other);
    EXPECT_THAT(refusal_message(ExitCode::data, [&] { ShardCatalogue::open(folder.path()); }),
                AllOf(HasSubstr("a.h5"), HasSubstr("b.h5"), HasSubstr("6 x 8")));
  }
}

TEST(ShardCatalogue, DamagedShardAmongGoodOnesIsNamed) {
  const test::TemporaryFolder folder;
  for (const char* name : {"a.h5", "b.h5", "c.h5"}) test::write_tiny_shard(folder.path() / name, 0, 2);
  std::filesystem::resize_file(folder.path() / "b.h5", 1000);
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { ShardCatalogue::open(folder.path()); }), HasSubstr("b.h5"));
}

}  // namespace
}  // namespace leda::data
