// Sums in which each rank adds up one shard of every bucket by itself: shards are exchanged all to all, added by their
// owners, and gathered. The order and the precision of the additions are then ours, not the collective library's. The
// last shard is padded to the length of the others on the wire only.
//
// A bucket is added up and gathered while later ones are on their way: a fixed number of buckets behind, so that all
// ranks start the same collectives in the same order. At most 2 * kBucketsBehind + 1 buckets have buffers at a time.
#pragma once

#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "distributed/gradients/bucket_exchange.hpp"
#include "distributed/gradients/tree_sum.hpp"

namespace leda::distributed {

class ShardedExchange : public BucketExchange {
 public:
  ShardedExchange(Communicator& channel, logging::Trace* trace, BucketObserver has_sum)
      : channel_(channel), trace_(trace), has_sum_(std::move(has_sum)) {}

  void begin_step(std::int64_t num_samples) override;
  void start(int bucket, at::Tensor flat) override;
  void finish() override;

 protected:
  // What every rank gets of this rank's bucket: [size, ...], row r for the owner of shard r.
  virtual at::Tensor packed(int bucket, const at::Tensor& flat) = 0;
  // The sum, [shard], in the type in which it is gathered, of what all ranks sent: row r from rank r. May write to it.
  virtual at::Tensor shard_sum(const at::Tensor& received, at::ScalarType gradient_type) = 0;

  Communicator& channel() const { return channel_; }
  // Elements of one rank's part of a bucket.
  std::int64_t shard_size(const at::Tensor& flat) const;

 private:
  static constexpr std::size_t kBucketsBehind = 2;
  struct Departure {
    int bucket = 0;
    at::Tensor flat;
    at::Tensor sent;
    at::Tensor received;
    at::Tensor gathered;  // [size, shard]
    std::unique_ptr<PendingCollective> pending;
  };

  void wait_for(Departure& departure);
  void gather(Departure& departure);
  void complete(Departure& departure);

  Communicator& channel_;
  logging::Trace* trace_;
  BucketObserver has_sum_;
  bool is_finishing_ = false;
  std::deque<Departure> exchanging_;
  std::deque<Departure> gathering_;
};

// Shards travel in bfloat16, both ways, and are added in float32 (float64 gradients: in float64), in the order of
// ranks. Two roundings to 8 bits: the error bound is in docs/methods/gradient_synchronisation.md. Buffers: one and a
// half times the float32 bytes of the buckets under way.
class Bfloat16Exchange : public ShardedExchange {
 public:
  using ShardedExchange::ShardedExchange;
  void end_micro_batch(int, at::Tensor) override {}

 protected:
  at::Tensor packed(int bucket, const at::Tensor& flat) override;
  at::Tensor shard_sum(const at::Tensor& received, at::ScalarType gradient_type) override;
};

// Every micro-batch is one sample, and samples are added in a TreeSum over their positions in the global batch: the
// same bits for any number of ranks. Each rank folds its own samples as far as the tree allows and sends what is left,
// at most 2 log2(share) + 1 sums; that many times the gradients' memory is used, and twice as much for the buckets
// under way.
class TreeExchange : public ShardedExchange {
 public:
  using ShardedExchange::ShardedExchange;
  void begin_step(std::int64_t num_samples) override;
  void end_micro_batch(int bucket, at::Tensor flat) override;

 protected:
  at::Tensor packed(int bucket, const at::Tensor& flat) override;
  at::Tensor shard_sum(const at::Tensor& received, at::ScalarType gradient_type) override;

 private:
  struct FoldedBucket {
    std::int64_t num_samples = 0;
    TreeSum samples;
  };

  // What rank r's samples fold into, by rank, and the most that any rank has.
  std::vector<std::vector<DyadicInterval>> nodes_of_rank_;
  std::int64_t max_nodes_ = 0;
  std::int64_t first_position_ = 0;
  std::vector<FoldedBucket> folded_;
};

}  // namespace leda::distributed
