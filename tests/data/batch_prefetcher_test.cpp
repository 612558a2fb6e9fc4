#include "data/loading/batch_prefetcher.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "storage/hdf5_chunk_index.hpp"
#include "tests/data/tiny_shards.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::data {
namespace {

using testing::HasSubstr;

class Prefetcher : public testing::Test {
 protected:
  Prefetcher() {
    test::write_tiny_shard(folder_.path() / "a.h5", 0, 9);
    test::write_tiny_shard(folder_.path() / "b.h5", 9, 4);
    catalogue_.emplace(ShardCatalogue::open(folder_.path()));
    loader_.emplace(*catalogue_,
                    LoaderOptions{.crop = 4, .flips = true, .needs_low_dose = true, .needs_tissue = true, .seed = 3});
  }

  test::TemporaryFolder folder_;
  std::optional<ShardCatalogue> catalogue_;
  std::optional<SliceLoader> loader_;
  EpochOrder order_{13, 8};
};

void expect_same(const StepBatch& found, const StepBatch& expected) {
  EXPECT_EQ(found.step, expected.step);
  EXPECT_EQ(found.epoch, expected.epoch);
  EXPECT_EQ(found.global_count, expected.global_count);
  ASSERT_EQ(found.micro_batches.size(), expected.micro_batches.size());
  for (std::size_t i = 0; i < found.micro_batches.size(); ++i) {
    EXPECT_EQ(found.micro_batches[i].slice_ids, expected.micro_batches[i].slice_ids);
    EXPECT_TRUE(found.micro_batches[i].normal_dose.equal(expected.micro_batches[i].normal_dose));
    EXPECT_TRUE(found.micro_batches[i].low_dose.equal(expected.micro_batches[i].low_dose));
    EXPECT_TRUE(found.micro_batches[i].tissue.equal(expected.micro_batches[i].tissue));
  }
}

TEST_F(Prefetcher, GivesWhatLoadingGivesFromAnyStepOn) {
  const BatchPlan plan{.global_batch = 5, .max_micro_batch = 2, .rank = 1, .size = 2};
  for (const int depth : {1, 3, 100}) {
    BatchPrefetcher prefetcher(*loader_, order_, plan, {2, 9}, depth);
    for (std::int64_t step = 2; step < 9; ++step)
      expect_same(prefetcher.next(), load_step(*loader_, order_, plan, step));
    EXPECT_GE(prefetcher.seconds_waited(), 0.0);
  }
}

TEST_F(Prefetcher, EveryRankGetsAsManyMicroBatchesAsTheLargestShareNeeds) {
  for (const std::int64_t global_batch : {1, 2, 5, 13}) {
    for (const int size : {1, 2, 4, 8}) {
      for (const std::int64_t step : {0, 1, 2}) {
        std::vector<std::int64_t> ids;
        std::int64_t global_count = 0;
        for (int rank = 0; rank < size; ++rank) {
          const StepBatch batch = load_step(*loader_, order_, {global_batch, 2, rank, size}, step);
          global_count = batch.global_count;
          const std::int64_t largest = (global_count + size - 1) / size;
          EXPECT_EQ(batch.micro_batches.size(), static_cast<std::size_t>((largest + 1) / 2));
          for (const ct::ImageBatch& micro : batch.micro_batches) {
            EXPECT_LE(micro.size(), 2);
            EXPECT_EQ(micro.normal_dose.size(0), micro.size());
            ids.insert(ids.end(), micro.slice_ids.begin(), micro.slice_ids.end());
          }
        }
        EXPECT_EQ(static_cast<std::int64_t>(ids.size()), global_count);
        std::vector<std::int64_t> expected;
        for (const SampleRef& sample : samples_of_step(order_, step, global_batch, 0, 1).mine) {
          expected.push_back(sample.slice_id);
        }
        EXPECT_EQ(ids, expected);
      }
    }
  }
}

TEST_F(Prefetcher, WhatLoadingThrowsIsThrownByNextAfterTheGoodSteps) {
  const std::int64_t damaged_slice = order_.slice_at(0, 6);  // in step 3 of batches of 2
  const std::string name = damaged_slice < 9 ? "a.h5" : "b.h5";
  const auto path = folder_.path() / name;
  const auto chunk = storage::read_chunk_index(storage::Hdf5File::open_read(path), "low_dose")
                         .chunks[static_cast<std::size_t>(damaged_slice < 9 ? damaged_slice : damaged_slice - 9)];
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(chunk.address + chunk.size_bytes - 1));
  file.put('\x5a');
  file.close();
  const BatchPlan plan{.global_batch = 2, .max_micro_batch = 2};
  BatchPrefetcher prefetcher(*loader_, order_, plan, {0, 20}, 10);
  for (std::int64_t step = 0; step < 3; ++step) EXPECT_EQ(prefetcher.next().step, step);
  for (int attempt = 0; attempt < 2; ++attempt) {
    EXPECT_THAT(test::refusal_message(base::ExitCode::data, [&] { prefetcher.next(); }), HasSubstr(name));
  }
}

TEST_F(Prefetcher, IsDestroyedAtAnyTimeWithoutHanging) {
  const BatchPlan plan{.global_batch = 4, .max_micro_batch = 4};
  for (int num_taken = 0; num_taken < 4; ++num_taken) {
    BatchPrefetcher prefetcher(*loader_, order_, plan, {0, 1'000'000'000}, 2);
    for (int i = 0; i < num_taken; ++i) prefetcher.next();
  }
  const BatchPrefetcher without_steps(*loader_, order_, plan, {5, 5}, 2);
}

}  // namespace
}  // namespace leda::data
