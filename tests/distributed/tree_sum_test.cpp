#include "distributed/gradients/tree_sum.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "distributed/core/batch_partition.hpp"

namespace leda::distributed {
namespace {

// Magnitudes far apart, so that hardly two orders of addition agree in float32.
at::Tensor term(std::int64_t position) {
  const double scale = std::pow(10.0, static_cast<double>(position * 7 % 5) - 2.0);
  return (at::sin(at::arange(50, at::kDouble) * 1.7 + static_cast<double>(position)) * scale).to(at::kFloat);
}

// The tree as it is defined: the node over [first, first + length) is the sum of its halves, as far as they exist.
at::Tensor tree_by_definition(std::int64_t first, std::int64_t length, std::int64_t num_terms) {
  if (length == 1) return term(first);
  const at::Tensor left = tree_by_definition(first, length / 2, num_terms);
  if (first + length / 2 >= num_terms) return left;
  return left + tree_by_definition(first + length / 2, length / 2, num_terms);
}

TreeSum folded(std::int64_t first, std::int64_t last) {
  TreeSum sum;
  for (std::int64_t i = first; i < last; ++i) sum.add({i, 1}, term(i));
  return sum;
}

TEST(TreeSum, IntervalsAreDyadicFewAndComplete) {
  EXPECT_EQ(dyadic_intervals(0, 8), (std::vector<DyadicInterval>{{0, 8}}));
  EXPECT_EQ(dyadic_intervals(3, 8), (std::vector<DyadicInterval>{{3, 1}, {4, 4}}));
  EXPECT_EQ(dyadic_intervals(5, 12), (std::vector<DyadicInterval>{{5, 1}, {6, 2}, {8, 4}}));
  EXPECT_TRUE(dyadic_intervals(4, 4).empty());
  for (std::int64_t first = 0; first < 40; ++first) {
    for (std::int64_t last = first + 1; last < 40; ++last) {
      const auto intervals = dyadic_intervals(first, last);
      std::int64_t next = first;
      for (const DyadicInterval& interval : intervals) {
        EXPECT_EQ(interval.first, next);
        EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(interval.length)));
        EXPECT_EQ(interval.first % interval.length, 0);
        next += interval.length;
      }
      EXPECT_EQ(next, last);
      EXPECT_LE(static_cast<double>(intervals.size()), 2.0 * std::log2(last - first) + 1.0);
    }
  }
}

TEST(TreeSum, NodesOfASumAreItsDyadicIntervals) {
  for (std::int64_t first = 0; first < 17; ++first) {
    for (std::int64_t last = first; last < 17; ++last) {
      const TreeSum sum = folded(first, last);
      std::vector<DyadicInterval> terms;
      for (const TreeSum::Node& node : sum.nodes()) terms.push_back(node.terms);
      EXPECT_EQ(terms, dyadic_intervals(first, last)) << first << " " << last;
    }
  }
}

TEST(TreeSum, AnyNumberOfHoldersGivesTheBitsOfTheDefinition) {
  int num_other_orders = 0;
  for (std::int64_t num_terms = 1; num_terms <= 21; ++num_terms) {
    const auto whole = static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(num_terms)));
    const at::Tensor truth = tree_by_definition(0, whole, num_terms);
    for (int num_holders = 1; num_holders <= 9; ++num_holders) {
      TreeSum all;
      for (int holder = 0; holder < num_holders; ++holder) {
        const BatchPartition partition = partition_of_rank(num_terms, holder, num_holders);
        const TreeSum part = folded(partition.first, partition.last);
        for (const TreeSum::Node& node : part.nodes()) all.add(node.terms, node.sum);
      }
      EXPECT_TRUE(all.total().equal(truth)) << num_terms << " terms, " << num_holders << " holders";
    }
    at::Tensor in_order = term(0);
    for (std::int64_t i = 1; i < num_terms; ++i) in_order = in_order + term(i);
    if (!in_order.equal(truth)) ++num_other_orders;
  }
  EXPECT_GE(num_other_orders, 15);  // the order is seen in the bits
}

TEST(BatchPartition, PartsAreContiguousEvenToOneAndComplete) {
  for (std::int64_t num_samples = 0; num_samples < 20; ++num_samples) {
    for (int num_ranks = 1; num_ranks < 12; ++num_ranks) {
      std::int64_t next = 0;
      for (int rank = 0; rank < num_ranks; ++rank) {
        const BatchPartition partition = partition_of_rank(num_samples, rank, num_ranks);
        EXPECT_EQ(partition.first, next);
        EXPECT_GE(partition.size(), num_samples / num_ranks);
        EXPECT_LE(partition.size(), (num_samples + num_ranks - 1) / num_ranks);
        next = partition.last;
      }
      EXPECT_EQ(next, num_samples);
    }
  }
}

}  // namespace
}  // namespace leda::distributed
