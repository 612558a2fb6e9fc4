#include "distributed/gradients/tree_sum.hpp"

#include <bit>
#include <cassert>
#include <utility>

namespace leda::distributed {

std::vector<DyadicInterval> dyadic_intervals(std::int64_t first, std::int64_t last) {
  std::vector<DyadicInterval> intervals;
  while (first < last) {
    auto length = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(last - first)));
    while (first % length != 0) length /= 2;
    intervals.push_back({first, length});
    first += length;
  }
  return intervals;
}

void TreeSum::add(DyadicInterval terms, at::Tensor sum) {
  assert(nodes_.empty() || nodes_.back().terms.first + nodes_.back().terms.length == terms.first);
  nodes_.push_back({terms, std::move(sum)});
  // Like the carries of a binary counter: two neighbours of one length combine where together they are dyadic again.
  while (nodes_.size() >= 2) {
    const DyadicInterval left = nodes_[nodes_.size() - 2].terms;
    if (left.length != nodes_.back().terms.length || left.first % (2 * left.length) != 0) return;
    combine_last_two();
  }
}

void TreeSum::combine_last_two() {
  const Node right = std::move(nodes_.back());
  nodes_.pop_back();
  Node& left = nodes_.back();
  left.sum.add_(right.sum);
  left.terms.length += right.terms.length;
}

at::Tensor TreeSum::total() {
  assert(!nodes_.empty() && nodes_.front().terms.first == 0);
  // The nodes left are of decreasing length: each is the left child of a node whose right child is all that follows.
  while (nodes_.size() > 1) combine_last_two();
  return nodes_.front().sum;
}

}  // namespace leda::distributed
