#include "data/loading/epoch_order.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

#include "base/keyed_random.hpp"
#include "distributed/core/batch_partition.hpp"

namespace leda::data {
namespace {

constexpr int kNumRounds = 6;

// A Feistel network on 2 * half_bits bits: a bijection whatever the round function is.
std::uint64_t permuted(std::uint64_t value, std::uint64_t key, int half_bits) {
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  std::uint64_t left = value >> half_bits;
  std::uint64_t right = value & mask;
  for (std::uint64_t round = 0; round < kNumRounds; ++round) {
    const std::uint64_t mixed = left ^ (base::mix_key({key, round, right}) & mask);
    left = right;
    right = mixed;
  }
  return left << half_bits | right;
}

}  // namespace

EpochOrder::EpochOrder(std::int64_t num_slices, std::uint64_t seed) : num_slices_(num_slices), seed_(seed) {
  assert(num_slices >= 1);
  const int bits = std::bit_width(static_cast<std::uint64_t>(num_slices - 1));
  half_bits_ = std::max(1, (bits + 1) / 2);
}

std::int64_t EpochOrder::slice_at(std::int64_t epoch, std::int64_t position) const {
  assert(position >= 0 && position < num_slices_);
  const std::uint64_t key = base::mix_key({base::key_of("epoch order"), seed_, static_cast<std::uint64_t>(epoch)});
  auto value = static_cast<std::uint64_t>(position);
  do {
    value = permuted(value, key, half_bits_);
  } while (value >= static_cast<std::uint64_t>(num_slices_));
  return static_cast<std::int64_t>(value);
}

std::int64_t steps_per_epoch(std::int64_t num_slices, std::int64_t global_batch) {
  return (num_slices + global_batch - 1) / global_batch;
}

StepSamples samples_of_step(const EpochOrder& order, std::int64_t step, std::int64_t global_batch, int rank, int size) {
  const std::int64_t steps = steps_per_epoch(order.num_slices(), global_batch);
  StepSamples samples;
  samples.epoch = step / steps;
  const std::int64_t first = step % steps * global_batch;
  const std::int64_t count = std::min(global_batch, order.num_slices() - first);
  samples.global_count = count;
  const distributed::BatchPartition partition = distributed::partition_of_rank(count, rank, size);
  for (std::int64_t i = partition.first; i < partition.last; ++i) {
    samples.mine.push_back({samples.epoch, order.slice_at(samples.epoch, first + i)});
  }
  return samples;
}

}  // namespace leda::data
