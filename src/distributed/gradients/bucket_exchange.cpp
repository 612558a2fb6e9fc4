#include "distributed/gradients/bucket_exchange.hpp"

#include <stdexcept>
#include <utility>
#include <vector>

#include "distributed/gradients/sharded_exchange.hpp"

namespace leda::distributed {
namespace {

class AllReduceExchange : public BucketExchange {
 public:
  AllReduceExchange(Communicator& channel, BucketObserver has_sum) : channel_(channel), has_sum_(std::move(has_sum)) {}

  void begin_step(std::int64_t) override { departures_.clear(); }
  void end_micro_batch(int, at::Tensor) override {}
  void start(int bucket, at::Tensor flat) override {
    departures_.push_back({bucket, channel_.start_all_reduce(std::move(flat))});
  }
  void finish() override {
    for (const Departure& departure : departures_) {
      departure.sum->wait();
      has_sum_(departure.bucket);
    }
    departures_.clear();
  }

 private:
  struct Departure {
    int bucket;
    std::unique_ptr<PendingCollective> sum;
  };

  Communicator& channel_;
  BucketObserver has_sum_;
  std::vector<Departure> departures_;
};

}  // namespace

std::unique_ptr<BucketExchange> make_bucket_exchange(const SynchronizerOptions& options, Communicator& channel,
                                                     logging::Trace* trace, BucketObserver has_sum) {
  const bool is_rounded = options.gradient_compression == GradientCompression::bfloat16;
  if (is_rounded && options.reproducible) throw std::logic_error("a reproducible sum is not rounded on the wire");
  if (options.reproducible) return std::make_unique<TreeExchange>(channel, trace, std::move(has_sum));
  if (is_rounded && channel.size() > 1) {
    return std::make_unique<Bfloat16Exchange>(channel, trace, std::move(has_sum));
  }
  return std::make_unique<AllReduceExchange>(channel, std::move(has_sum));
}

}  // namespace leda::distributed
