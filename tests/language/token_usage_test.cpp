#include "language/token_usage.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

namespace leda::language {
namespace {

at::Tensor tokens(std::initializer_list<std::int64_t> values) { return at::tensor(at::ArrayRef<std::int64_t>(values)); }

TEST(TokenUsage, EquallyFrequentTokensHaveTheirNumberAsPerplexity) {
  TokenUsage usage(2, 50);
  usage.add(1, at::arange(10, 17).reshape({1, 7, 1}));
  usage.add(1, at::arange(10, 17));
  EXPECT_EQ(usage.num_distinct(1), 7);
  EXPECT_EQ(usage.num_dead(1), usage.counts().size(1) - 7);
  EXPECT_NEAR(usage.perplexity(1), 7.0, 1e-12);
  EXPECT_EQ(usage.num_distinct(0), 0);
}

TEST(TokenUsage, PerplexityIsTheExponentialOfTheEntropy) {
  TokenUsage usage(1, 10);
  usage.add(0, tokens({3, 3, 3, 9}));
  // Entropy of (3/4, 1/4) is 2 ln 2 - 3/4 ln 3.
  EXPECT_NEAR(usage.perplexity(0), 4.0 / std::pow(3.0, 0.75), 1e-12);
  EXPECT_EQ(usage.num_distinct(0), 2);
}

TEST(TokenUsage, CountsOfTwoRanksAddUp) {
  TokenUsage whole(1, 6), first(1, 6), second(1, 6);
  whole.add(0, tokens({0, 1, 1, 5, 5, 5}));
  first.add(0, tokens({0, 1, 5}));
  second.add(0, tokens({1, 5, 5}));
  first.counts().add_(second.counts());
  EXPECT_EQ(first.num_distinct(0), 3);
  EXPECT_DOUBLE_EQ(first.perplexity(0), whole.perplexity(0));
}

TEST(TokenUsage, NothingAddedIsZeroAndResetForgets) {
  TokenUsage usage(1, 6);
  usage.add(0, at::empty({0, 2, 2}, at::kLong));
  EXPECT_EQ(usage.perplexity(0), 0.0);
  usage.add(0, tokens({4}));
  EXPECT_NEAR(usage.perplexity(0), 1.0, 1e-15);
  usage.reset();
  EXPECT_EQ(usage.num_distinct(0), 0);
}

}  // namespace
}  // namespace leda::language
