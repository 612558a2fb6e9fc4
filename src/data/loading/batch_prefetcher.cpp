#include "data/loading/batch_prefetcher.hpp"

#include <algorithm>
#include <cassert>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <utility>

#include "base/clock.hpp"

namespace leda::data {
namespace {

// The largest share of a step's samples sets the number of micro-batches of every rank.
std::int64_t num_micro_batches(std::int64_t global_count, const BatchPlan& plan) {
  const std::int64_t largest_share = (global_count + plan.size - 1) / plan.size;
  return std::max<std::int64_t>(1, (largest_share + plan.max_micro_batch - 1) / plan.max_micro_batch);
}

}  // namespace

StepBatch load_step(const SliceLoader& loader, const EpochOrder& order, const BatchPlan& plan, std::int64_t step) {
  const StepSamples samples = samples_of_step(order, step, plan.global_batch, plan.rank, plan.size);
  StepBatch batch{step, samples.epoch, samples.global_count, {}};
  const std::span<const SampleRef> mine(samples.mine);
  const std::int64_t count = num_micro_batches(samples.global_count, plan);
  for (std::int64_t i = 0; i < count; ++i) {
    const auto first = std::min(mine.size(), static_cast<std::size_t>(i * plan.max_micro_batch));
    const auto length = std::min(mine.size() - first, static_cast<std::size_t>(plan.max_micro_batch));
    batch.micro_batches.push_back(loader.load(mine.subspan(first, length)));
  }
  return batch;
}

// Filled by one thread, emptied by another; what loading throws waits in it like a batch.
class BatchPrefetcher::Queue {
 public:
  Queue(const SliceLoader& loader, const EpochOrder& order, const BatchPlan& plan, StepRange steps, int depth)
      : depth_(static_cast<std::size_t>(depth)), thread_([this, &loader, &order, plan, steps] {
          for (std::int64_t step = steps.begin; step < steps.end && wait_for_room(); ++step) {
            if (!fill(loader, order, plan, step)) return;
          }
        }) {
    assert(depth >= 1);
  }

  ~Queue() {
    {
      const std::lock_guard lock(mutex_);
      is_cancelled_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  StepBatch take() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !batches_.empty() || failure_ != nullptr; });
    if (batches_.empty()) std::rethrow_exception(failure_);
    StepBatch batch = std::move(batches_.front());
    batches_.pop_front();
    changed_.notify_all();
    return batch;
  }

 private:
  bool wait_for_room() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_cancelled_ || batches_.size() < depth_; });
    return !is_cancelled_;
  }

  bool fill(const SliceLoader& loader, const EpochOrder& order, const BatchPlan& plan, std::int64_t step) {
    try {
      StepBatch batch = load_step(loader, order, plan, step);
      const std::lock_guard lock(mutex_);
      batches_.push_back(std::move(batch));
    } catch (...) {
      const std::lock_guard lock(mutex_);
      failure_ = std::current_exception();
    }
    changed_.notify_all();
    return failure_ == nullptr;
  }

  std::size_t depth_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<StepBatch> batches_;
  std::exception_ptr failure_;
  bool is_cancelled_ = false;
  std::thread thread_;  // last: it starts when all else is ready
};

BatchPrefetcher::BatchPrefetcher(const SliceLoader& loader, const EpochOrder& order, const BatchPlan& plan,
                                 StepRange steps, int queue_depth)
    : queue_(std::make_unique<Queue>(loader, order, plan, steps, queue_depth)) {}

BatchPrefetcher::~BatchPrefetcher() = default;

StepBatch BatchPrefetcher::next() {
  const base::Stopwatch stopwatch;
  StepBatch batch = queue_->take();
  seconds_waited_ += stopwatch.seconds();
  return batch;
}

}  // namespace leda::data
