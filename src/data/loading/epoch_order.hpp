// Which slices a step takes and which of them a rank: pure functions of (seed, epoch, step, global batch), so that a
// run can stop anywhere and go on with another number of ranks. An epoch's order is a keyed bijection of [0, N): a
// Feistel network on the next even power of two, repeated while it leaves the range (cycle walking; Black and Rogaway,
// CT-RSA 2002). It takes no memory and any position can be asked for.
#pragma once

#include <cstdint>
#include <vector>

namespace leda::data {

class EpochOrder {
 public:
  // num_slices >= 1
  EpochOrder(std::int64_t num_slices, std::uint64_t seed);

  std::int64_t num_slices() const { return num_slices_; }
  // The slice at `position` in [0, num_slices) of `epoch`.
  std::int64_t slice_at(std::int64_t epoch, std::int64_t position) const;

 private:
  std::int64_t num_slices_;
  std::uint64_t seed_;
  int half_bits_;
};

struct SampleRef {
  std::int64_t epoch = 0;
  std::int64_t slice_id = 0;
  bool operator==(const SampleRef&) const = default;
};

struct StepSamples {
  std::int64_t epoch = 0;
  std::int64_t global_count = 0;  // samples of the step over all ranks
  std::vector<SampleRef> mine;    // this rank's contiguous share; may be empty
};

// ceil(N / G) steps an epoch; the last takes what is left.
std::int64_t steps_per_epoch(std::int64_t num_slices, std::int64_t global_batch);
StepSamples samples_of_step(const EpochOrder& order, std::int64_t step, std::int64_t global_batch, int rank, int size);

}  // namespace leda::data
