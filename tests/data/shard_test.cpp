#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "data/chunk_codec.hpp"
#include "data/shard_reader.hpp"
#include "data/shard_writer.hpp"
#include "storage/hdf5_chunk_index.hpp"
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

constexpr SliceFields kAllFields{.low_dose = true, .tissue = true, .noise_free = true};

bool is_same(const at::Tensor& a, const at::Tensor& b) {
  return a.defined() ? b.defined() && a.equal(b) : !b.defined();
}

void expect_same(const Slice& found, const Slice& expected) {
  EXPECT_EQ(found.record, expected.record);
  EXPECT_TRUE(is_same(found.normal_dose_hu, expected.normal_dose_hu));
  EXPECT_TRUE(is_same(found.low_dose_hu, expected.low_dose_hu));
  EXPECT_TRUE(is_same(found.tissue, expected.tissue));
  EXPECT_TRUE(is_same(found.noise_free_hu, expected.noise_free_hu));
}

class Shard : public testing::Test {
 protected:
  Shard() { test::write_tiny_shard(path_, 3, 5); }
  void damage(const std::string& what) { test::run_shard_script("damage " + path_.string() + " " + what); }
  std::string message() {
    return refusal_message(ExitCode::data, [&] { ShardReader{path_}; });
  }

  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "tiny.h5";
};

TEST_F(Shard, IsReadAsItWasWritten) {
  const ShardReader reader(path_);
  EXPECT_EQ(reader.shape(), kFullShape);
  EXPECT_EQ(reader.creator(), "a test");
  ASSERT_EQ(reader.num_slices(), 5);
  for (const std::int64_t i : {4, 0, 2, 1, 3})
    expect_same(reader.read_slice(i, kAllFields), test::make_slice(3 + i, kFullShape));
  reader.verify();
}

TEST_F(Shard, IsReadByH5py) { test::run_shard_script("check " + path_.string() + " 3 5"); }

TEST_F(Shard, GivesOnlyTheImagesAskedFor) {
  const Slice slice = ShardReader(path_).read_slice(0, {});
  EXPECT_TRUE(slice.normal_dose_hu.defined());
  EXPECT_FALSE(slice.low_dose_hu.defined() || slice.tissue.defined() || slice.noise_free_hu.defined());
}

TEST_F(Shard, MayHoldNormalDoseAlone) {
  const ShardShape shape{.rows = 5, .columns = 3};
  test::write_tiny_shard(path_, 0, 2, shape);
  const ShardReader reader(path_);
  EXPECT_EQ(reader.shape(), shape);
  expect_same(reader.read_slice(1, {}), test::make_slice(1, shape));
  EXPECT_FALSE(reader.read_slice(1, kAllFields).low_dose_hu.defined());
}

TEST_F(Shard, IsReadByManyThreadsAtOnce) {
  const ShardReader reader(path_);
  std::vector<std::thread> threads;
  std::vector<int> num_equal(4, 0);
  for (std::size_t t = 0; t < num_equal.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::int64_t i = 0; i < 100; ++i) {
        const Slice slice = reader.read_slice(i % 5, kAllFields);
        num_equal[t] += slice.normal_dose_hu.equal(test::make_slice(3 + i % 5, kFullShape).normal_dose_hu);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(num_equal, std::vector<int>(4, 100));
}

TEST_F(Shard, SameSlicesGiveSameBytes) {
  test::write_tiny_shard(folder_.path() / "again.h5", 3, 5);
  EXPECT_EQ(test::bytes_of(path_), test::bytes_of(folder_.path() / "again.h5"));
}

TEST_F(Shard, UnfinishedLeavesNothingBehind) {
  const test::TemporaryFolder folder;
  {
    ShardWriter writer(folder.path() / "half.h5", kFullShape);
    writer.append(test::make_slice(0, kFullShape));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST_F(Shard, WriterRefusesSlicesOfAnotherKind) {
  ShardWriter writer(folder_.path() / "other.h5", kFullShape);
  Slice slice = test::make_slice(0, kFullShape);
  slice.low_dose_hu = slice.low_dose_hu.narrow(0, 0, 4);
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { writer.append(slice); }), HasSubstr("low_dose"));
  slice = test::make_slice(0, kFullShape);
  slice.tissue = at::Tensor();
  EXPECT_THAT(refusal_message(ExitCode::data, [&] { writer.append(slice); }), HasSubstr("tissue"));
}

TEST_F(Shard, TruncatedIsRefusedWithItsName) {
  const std::string bytes = test::bytes_of(path_);
  for (const std::size_t length :
       {std::size_t{0}, std::size_t{8}, std::size_t{600}, bytes.size() / 2, bytes.size() - 1}) {
    std::ofstream(path_, std::ios::binary) << bytes.substr(0, length);
    EXPECT_THAT(message(), HasSubstr("tiny.h5"));
  }
  std::ofstream(path_, std::ios::binary) << "this is no HDF5 file at all";
  EXPECT_THAT(message(), HasSubstr("tiny.h5"));
}

TEST_F(Shard, EveryDamageOfItsFieldsNamesFileAndField) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"version=2", "version"},
      {"format=other", "format"},
      {"delete_attribute=format", "format"},
      {"delete_attribute=creator", "creator"},
      {"delete_attribute=content_checksum", "content_checksum"},
      {"delete=normal_dose", "normal_dose"},
      {"delete=normal_dose_checksum", "normal_dose_checksum"},
      {"delete=spacing_mm", "spacing_mm"},
      {"delete=patient", "patient"},
      {"delete=low_dose", "content_checksum"},
      {"shorten=patient", "patient"},
      {"shorten=series", "series"},
      {"shorten=spacing_mm", "spacing_mm"},
      {"shorten=position_mm", "position_mm"},
      {"shorten=dose_fraction", "dose_fraction"},
      {"shorten=tissue_checksum", "tissue_checksum"},
      {"as_float=low_dose", "low_dose"},
      {"crop=low_dose", "low_dose"},
      {"crop=noise_free", "noise_free"},
      {"contiguous=tissue", "tissue"},
      {"negative=spacing_mm", "spacing_mm"},
      {"negative=dose_fraction", "dose_fraction"},
      {"edit=position_mm", "content_checksum"},
      {"edit=spacing_mm", "content_checksum"},
      {"edit=low_dose_checksum", "content_checksum"}};
  const std::string bytes = test::bytes_of(path_);
  for (const auto& [what, field] : cases) {
    std::ofstream(path_, std::ios::binary) << bytes;
    damage(what);
    EXPECT_THAT(message(), AllOf(HasSubstr("tiny.h5"), HasSubstr("'" + field + "'"))) << what;
  }
}

TEST_F(Shard, FlippedByteInAnyChunkIsFoundAndNamed) {
  const std::string bytes = test::bytes_of(path_);
  for (const ImageField& field : kImageFields) {
    const auto chunk = storage::read_chunk_index(storage::Hdf5File::open_read(path_), field.name).chunks[2];
    std::string damaged = bytes;
    damaged[chunk.address + chunk.size_bytes / 2] ^= 1;
    std::ofstream(path_, std::ios::binary) << damaged;
    const ShardReader reader(path_);
    reader.read_slice(1, kAllFields);
    for (const std::string& text : {refusal_message(ExitCode::data, [&] { reader.read_slice(2, kAllFields); }),
                                    refusal_message(ExitCode::data, [&] { reader.verify(); })}) {
      EXPECT_THAT(text, AllOf(HasSubstr("tiny.h5"), HasSubstr(field.name), HasSubstr("slice 2")));
    }
    std::ofstream(path_, std::ios::binary) << bytes;
  }
}

TEST(ChunkCodec, UndoesFiltersInReverseAndHonoursTheMask) {
  const std::vector<int> filters{storage::kShuffleFilter, storage::kDeflateFilter};
  std::vector<std::byte> values(96);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::byte>(i * 37 % 11);
  std::vector<std::byte> result(values.size());
  EXPECT_TRUE(decode_chunk(encode_chunk(values, 2, 4), filters, 0, 2, result));
  EXPECT_EQ(result, values);
  EXPECT_TRUE(decode_chunk(values, filters, 0b11, 2, result));  // stored as it is
  EXPECT_EQ(result, values);
  EXPECT_TRUE(decode_chunk(encode_chunk(values, 1, 4), filters, 0b01, 2, result));  // one-byte shuffle changes nothing
  EXPECT_EQ(result, values);
}

TEST(ChunkCodec, RefusesBytesThatDoNotGiveAWholeSlice) {
  const std::vector<int> filters{storage::kShuffleFilter, storage::kDeflateFilter};
  const std::vector<std::byte> values(96, std::byte{5});
  std::vector<std::byte> stored = encode_chunk(values, 2, 4);
  std::vector<std::byte> shorter(94), longer(98), same(96);
  EXPECT_FALSE(decode_chunk(stored, filters, 0, 2, shorter));
  EXPECT_FALSE(decode_chunk(stored, filters, 0, 2, longer));
  EXPECT_FALSE(decode_chunk(values, filters, 0b11, 2, longer));
  stored.pop_back();
  EXPECT_FALSE(decode_chunk(stored, filters, 0, 2, same));
}

}  // namespace
}  // namespace leda::data
