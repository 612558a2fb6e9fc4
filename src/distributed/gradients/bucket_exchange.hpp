// What travels, and in which type, when a bucket of gradients becomes its sum over ranks. GradientSynchronizer decides
// when buckets leave. Implementations: AllReduceExchange (one all-reduce in place), Bfloat16Exchange and TreeExchange.
// One thread; all ranks make the same calls in the same order.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>

#include "distributed/core/communicator.hpp"
#include "distributed/gradients/bucket_plan.hpp"
#include "logging/trace.hpp"

namespace leda::distributed {

class BucketExchange {
 public:
  virtual ~BucketExchange() = default;

  // A step over `num_samples` samples of all ranks together begins. Drops what a failed step left behind.
  virtual void begin_step(std::int64_t num_samples) = 0;
  // A micro-batch has ended: `flat`, [n], holds its gradients, or, where micro-batches accumulate, theirs so far. For
  // each bucket before start(); in a reproducible sum also before every further micro-batch.
  virtual void end_micro_batch(int bucket, at::Tensor flat) = 0;
  // The bucket leaves, in planned order. Nobody touches it until finish() has returned.
  virtual void start(int bucket, at::Tensor flat) = 0;
  // Waits until every bucket that left holds its sum, the same bits on every rank.
  virtual void finish() = 0;
};

// Told of each bucket when its sum is seen to be complete, in the order of departure.
using BucketObserver = std::function<void(int bucket)>;

// As gradient_compression and reproducible say. With one rank nothing travels, and nothing is rounded. The channel and
// the trace, which gets waits outside finish() where there is one, outlive it.
std::unique_ptr<BucketExchange> make_bucket_exchange(const SynchronizerOptions& options, Communicator& channel,
                                                     logging::Trace* trace, BucketObserver has_sum);

}  // namespace leda::distributed
