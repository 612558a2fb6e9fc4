// A sum over numbered terms whose additions are fixed by the numbers alone: term 2k and term 2k + 1 first, then pairs
// of pairs, and so on; what is missing at the end is left out, not added as zero. Whoever holds a contiguous run of
// terms can add up the parts of the tree that lie within it, and the parts of several holders complete the same tree,
// to the same bits (docs/decisions/0005-fixed-summation-tree.md). Plain data in one thread.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace leda::distributed {

// Terms [first, first + length): length is a power of two and divides first.
struct DyadicInterval {
  std::int64_t first = 0;
  std::int64_t length = 1;

  bool operator==(const DyadicInterval&) const = default;
};

// The fewest dyadic intervals that make up [first, last), in order: at most 2 log2(last - first) + 1. They are the
// nodes of a TreeSum that was given just these terms.
std::vector<DyadicInterval> dyadic_intervals(std::int64_t first, std::int64_t last);

class TreeSum {
 public:
  struct Node {
    DyadicInterval terms;
    at::Tensor sum;
  };

  // In increasing order, without gaps after the first. Takes the tensor over: sums are made in place.
  void add(DyadicInterval terms, at::Tensor sum);
  // The sums that lie wholly within what was added, in order.
  const std::vector<Node>& nodes() const { return nodes_; }
  // All of them together. Valid where the terms began at 0 and at least one was added; the sum object is used up.
  at::Tensor total();

 private:
  void combine_last_two();

  std::vector<Node> nodes_;
};

}  // namespace leda::distributed
