// Loads this rank's share of the coming steps on a thread of its own, a bounded number of steps ahead. Every rank gets
// the same number of micro-batches in a step, some perhaps empty, so that collectives stay matched.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ct/image_batch.hpp"
#include "data/loading/epoch_order.hpp"
#include "data/loading/slice_loader.hpp"

namespace leda::data {

struct BatchPlan {
  std::int64_t global_batch = 1;
  std::int64_t max_micro_batch = 1;  // samples of one rank in one micro-batch, at most
  int rank = 0;
  int size = 1;
};

struct StepBatch {
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::int64_t global_count = 0;
  std::vector<ct::ImageBatch> micro_batches;
};

// The step's batches, loaded here and now.
StepBatch load_step(const SliceLoader& loader, const EpochOrder& order, const BatchPlan& plan, std::int64_t step);

// [begin, end)
struct StepRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

class BatchPrefetcher {
 public:
  // At most `queue_depth` >= 1 of the steps wait. Loader and order must outlive it.
  BatchPrefetcher(const SliceLoader& loader, const EpochOrder& order, const BatchPlan& plan, StepRange steps,
                  int queue_depth);
  // Waits for the step being loaded, for no other.
  ~BatchPrefetcher();
  BatchPrefetcher(const BatchPrefetcher&) = delete;
  BatchPrefetcher& operator=(const BatchPrefetcher&) = delete;

  // Waits for the next step; throws what loading it threw. Not to be called after the last step.
  StepBatch next();
  // Time spent waiting in next() so far.
  double seconds_waited() const { return seconds_waited_; }

 private:
  class Queue;
  std::unique_ptr<Queue> queue_;
  double seconds_waited_ = 0.0;
};

}  // namespace leda::data
