#include "data/loading/epoch_order.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace leda::data {
namespace {

std::vector<std::int64_t> epoch_of(const EpochOrder& order, std::int64_t epoch) {
  std::vector<std::int64_t> slices;
  for (std::int64_t position = 0; position < order.num_slices(); ++position) {
    slices.push_back(order.slice_at(epoch, position));
  }
  return slices;
}

TEST(EpochOrder, IsABijectionForEveryNumberOfSlices) {
  std::vector<std::int64_t> counts{255, 256, 257, 1000, 4095, 4096, 4097, 20000};
  for (std::int64_t n = 1; n <= 70; ++n) counts.push_back(n);
  for (const std::int64_t n : counts) {
    const EpochOrder order(n, 11);
    for (const std::int64_t epoch : {0, 1, 7}) {
      std::vector<std::int64_t> slices = epoch_of(order, epoch);
      std::sort(slices.begin(), slices.end());
      for (std::int64_t i = 0; i < n; ++i) ASSERT_EQ(slices[static_cast<std::size_t>(i)], i) << n;
    }
  }
}

TEST(EpochOrder, DiffersBetweenEpochsAndSeeds) {
  const EpochOrder order(500, 1);
  EXPECT_NE(epoch_of(order, 0), epoch_of(order, 1));
  EXPECT_NE(epoch_of(order, 0), epoch_of(EpochOrder(500, 2), 0));
  EXPECT_EQ(epoch_of(order, 3), epoch_of(EpochOrder(500, 1), 3));
}

// Each slice should come first equally often; chi squared with 15 degrees of freedom stays under 37.7 (p = 0.001).
TEST(EpochOrder, EverySliceIsEquallyLikelyAtEveryPosition) {
  const EpochOrder order(16, 5);
  for (const std::int64_t position : {0, 9}) {
    std::vector<double> counts(16, 0.0);
    const int num_epochs = 3200;
    for (int epoch = 0; epoch < num_epochs; ++epoch) {
      counts[static_cast<std::size_t>(order.slice_at(epoch, position))] += 1.0;
    }
    double chi_squared = 0.0;
    for (const double count : counts) chi_squared += std::pow(count - num_epochs / 16.0, 2) / (num_epochs / 16.0);
    EXPECT_LT(chi_squared, 37.7);
  }
}

// Neighbours must not stay neighbours: of 1000 pairs about 2 do by chance.
TEST(EpochOrder, SeparatesNeighbours) {
  const std::vector<std::int64_t> slices = epoch_of(EpochOrder(1001, 5), 0);
  int num_neighbours = 0;
  for (std::size_t i = 0; i + 1 < slices.size(); ++i) num_neighbours += std::abs(slices[i] - slices[i + 1]) == 1;
  EXPECT_LT(num_neighbours, 12);
}

TEST(SamplesOfStep, SharesOfTheRanksJoinToTheGlobalBatchOfOneRank) {
  for (const std::int64_t num_slices : {1, 7, 20, 33}) {
    const EpochOrder order(num_slices, 3);
    for (const std::int64_t global_batch : {1, 2, 5, 8, 50}) {
      const std::int64_t steps = steps_per_epoch(num_slices, global_batch);
      for (std::int64_t step = 0; step < 2 * steps + 1; ++step) {
        const StepSamples alone = samples_of_step(order, step, global_batch, 0, 1);
        EXPECT_EQ(alone.epoch, step / steps);
        EXPECT_EQ(static_cast<std::int64_t>(alone.mine.size()), alone.global_count);
        for (const int size : {2, 3, 4, 8}) {
          std::vector<SampleRef> joined;
          std::size_t largest = 0, smallest = 1000;
          for (int rank = 0; rank < size; ++rank) {
            const StepSamples share = samples_of_step(order, step, global_batch, rank, size);
            EXPECT_EQ(share.global_count, alone.global_count);
            EXPECT_EQ(share.epoch, alone.epoch);
            joined.insert(joined.end(), share.mine.begin(), share.mine.end());
            largest = std::max(largest, share.mine.size());
            smallest = std::min(smallest, share.mine.size());
          }
          EXPECT_EQ(joined, alone.mine);
          EXPECT_LE(largest - smallest, 1);
        }
      }
    }
  }
}

TEST(SamplesOfStep, AnEpochTakesEverySliceOnceAndItsLastStepIsShort) {
  const EpochOrder order(23, 3);
  ASSERT_EQ(steps_per_epoch(23, 5), 5);
  for (const std::int64_t epoch : {0, 2}) {
    std::set<std::int64_t> seen;
    for (std::int64_t step = 5 * epoch; step < 5 * (epoch + 1); ++step) {
      const StepSamples samples = samples_of_step(order, step, 5, 0, 1);
      EXPECT_EQ(samples.global_count, step == 5 * epoch + 4 ? 3 : 5);
      for (const SampleRef& sample : samples.mine) {
        EXPECT_EQ(sample.epoch, epoch);
        EXPECT_TRUE(seen.insert(sample.slice_id).second);
      }
    }
    EXPECT_EQ(seen.size(), 23);
  }
}

}  // namespace
}  // namespace leda::data
