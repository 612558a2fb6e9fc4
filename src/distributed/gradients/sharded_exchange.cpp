#include "distributed/gradients/sharded_exchange.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "distributed/core/batch_partition.hpp"

namespace leda::distributed {

void ShardedExchange::begin_step(std::int64_t) {
  is_finishing_ = false;
  exchanging_.clear();
  gathering_.clear();
}

std::int64_t ShardedExchange::shard_size(const at::Tensor& flat) const {
  return std::max<std::int64_t>(1, (flat.numel() + channel_.size() - 1) / channel_.size());
}

void ShardedExchange::start(int bucket, at::Tensor flat) {
  const c10::NoGradGuard no_gradients;
  const at::Tensor sent = packed(bucket, flat);
  if (channel_.size() == 1) {
    flat.copy_(shard_sum(sent, flat.scalar_type()).narrow(0, 0, flat.numel()));
    has_sum_(bucket);
    return;
  }
  Departure departure{bucket, std::move(flat), sent, at::empty_like(sent), {}, nullptr};
  departure.pending = channel_.start_all_to_all(departure.sent, departure.received);
  exchanging_.push_back(std::move(departure));
  if (exchanging_.size() > kBucketsBehind) {
    gather(exchanging_.front());
    gathering_.push_back(std::move(exchanging_.front()));
    exchanging_.pop_front();
  }
  if (gathering_.size() > kBucketsBehind) {
    complete(gathering_.front());
    gathering_.pop_front();
  }
}

// finish() accounts for its own waits; one during backward is exposed too.
void ShardedExchange::wait_for(Departure& departure) {
  if (is_finishing_) return departure.pending->wait();
  const logging::Span wait(trace_, "exposed wait", logging::Span::kNoStep, logging::Span::Kind::exposed_wait);
  departure.pending->wait();
}

void ShardedExchange::gather(Departure& departure) {
  wait_for(departure);
  const at::Tensor part = shard_sum(departure.received, departure.flat.scalar_type());
  const at::Tensor& flat = departure.flat;
  const bool fits_exactly = part.scalar_type() == flat.scalar_type() && part.numel() * channel_.size() == flat.numel();
  departure.gathered =
      fits_exactly ? flat.view({channel_.size(), -1}) : at::empty({channel_.size(), part.numel()}, part.options());
  departure.pending = channel_.start_all_gather(part, departure.gathered);
  departure.sent.reset();
  departure.received.reset();
}

void ShardedExchange::complete(Departure& departure) {
  wait_for(departure);
  if (!departure.gathered.is_alias_of(departure.flat)) {
    departure.flat.copy_(departure.gathered.view(-1).narrow(0, 0, departure.flat.numel()));
  }
  has_sum_(departure.bucket);
}

void ShardedExchange::finish() {
  const c10::NoGradGuard no_gradients;
  is_finishing_ = true;
  for (Departure& departure : exchanging_) {
    gather(departure);
    gathering_.push_back(std::move(departure));
  }
  exchanging_.clear();
  for (Departure& departure : gathering_) complete(departure);
  gathering_.clear();
}

at::Tensor Bfloat16Exchange::packed(int, const at::Tensor& flat) {
  const std::int64_t shard = shard_size(flat);
  const at::Tensor sent = at::empty({channel().size(), shard}, flat.options().dtype(at::kBFloat16));
  const at::Tensor elements = sent.view(-1);
  elements.narrow(0, 0, flat.numel()).copy_(flat);
  elements.narrow(0, flat.numel(), elements.numel() - flat.numel()).zero_();
  return sent;
}

at::Tensor Bfloat16Exchange::shard_sum(const at::Tensor& received, at::ScalarType gradient_type) {
  at::Tensor sum = received.select(0, 0).to(c10::promoteTypes(at::kFloat, gradient_type));
  for (std::int64_t rank = 1; rank < received.size(0); ++rank) sum.add_(received.select(0, rank));
  return sum.to(at::kBFloat16);
}

void TreeExchange::begin_step(std::int64_t num_samples) {
  ShardedExchange::begin_step(num_samples);
  nodes_of_rank_.clear();
  max_nodes_ = 0;
  for (int rank = 0; rank < channel().size(); ++rank) {
    const BatchPartition partition = partition_of_rank(num_samples, rank, channel().size());
    nodes_of_rank_.push_back(dyadic_intervals(partition.first, partition.last));
    max_nodes_ = std::max(max_nodes_, static_cast<std::int64_t>(nodes_of_rank_.back().size()));
    if (rank == channel().rank()) first_position_ = partition.first;
  }
  folded_.clear();
}

void TreeExchange::end_micro_batch(int bucket, at::Tensor flat) {
  const c10::NoGradGuard no_gradients;
  if (folded_.size() <= static_cast<std::size_t>(bucket)) folded_.resize(static_cast<std::size_t>(bucket) + 1);
  FoldedBucket& folded = folded_[static_cast<std::size_t>(bucket)];
  const std::int64_t position = first_position_ + folded.num_samples;
  // A right child is added to the left one at once; a left one has to wait, in memory of its own.
  const bool joins_left = position % 2 == 1 && folded.num_samples > 0;
  folded.samples.add({position, 1}, joins_left ? flat : flat.clone());
  ++folded.num_samples;
  flat.zero_();
}

at::Tensor TreeExchange::packed(int bucket, const at::Tensor& flat) {
  const auto index = static_cast<std::size_t>(bucket);
  const FoldedBucket folded = index < folded_.size() ? std::exchange(folded_[index], {}) : FoldedBucket{};
  const std::vector<TreeSum::Node>& nodes = folded.samples.nodes();
  const auto& expected = nodes_of_rank_[static_cast<std::size_t>(channel().rank())];
  if (!std::equal(nodes.begin(), nodes.end(), expected.begin(), expected.end(),
                  [](const TreeSum::Node& node, const DyadicInterval& terms) { return node.terms == terms; })) {
    throw std::logic_error("a reproducible sum needs one micro-batch for each of the rank's samples");
  }
  const std::int64_t shard = shard_size(flat);
  const std::int64_t num_elements = flat.numel();
  if (max_nodes_ == 1 && !nodes.empty() && shard * channel().size() == num_elements) {
    return nodes.front().sum.view({channel().size(), 1, shard});
  }
  const at::Tensor sent = at::zeros({channel().size(), max_nodes_, shard}, flat.options());
  const std::int64_t num_full = num_elements / shard;
  const std::int64_t rest = num_elements % shard;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const at::Tensor rows = sent.select(1, static_cast<std::int64_t>(i));
    const at::Tensor& sum = nodes[i].sum;
    rows.narrow(0, 0, num_full).copy_(sum.narrow(0, 0, num_full * shard).view({num_full, shard}));
    if (rest > 0) rows.select(0, num_full).narrow(0, 0, rest).copy_(sum.narrow(0, num_full * shard, rest));
  }
  return sent;
}

at::Tensor TreeExchange::shard_sum(const at::Tensor& received, at::ScalarType) {
  TreeSum samples;
  for (std::size_t rank = 0; rank < nodes_of_rank_.size(); ++rank) {
    const at::Tensor sums = received.select(0, static_cast<std::int64_t>(rank));
    for (std::size_t i = 0; i < nodes_of_rank_[rank].size(); ++i) {
      samples.add(nodes_of_rank_[rank][i], sums.select(0, static_cast<std::int64_t>(i)));
    }
  }
  return samples.total();
}

}  // namespace leda::distributed
