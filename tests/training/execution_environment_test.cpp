#include "training/options/execution_environment.hpp"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <gtest/gtest.h>

#include "tests/support/thread_ranks.hpp"

namespace leda::training {
namespace {

TEST(ExecutionEnvironment, AreThoseOfAllRanks) {
  at::set_num_threads(1);
  test::run_ranks(3, [](distributed::Communicator& communicator) {
    const ExecutionEnvironment expected{{"num_ranks", "3"},
                                        {"threads_per_rank", "1"},
                                        {"instruction_set", at::get_cpu_capability()},
                                        {"device", "cpu"}};
    EXPECT_EQ(gather_execution_environment(communicator, at::kCPU, false), expected);
    const ExecutionEnvironment without_ranks(expected.begin() + 1, expected.end());
    EXPECT_EQ(gather_execution_environment(communicator, at::kCPU, true), without_ranks);
  });
}

TEST(ExecutionEnvironment, RanksOfOneInstructionSetPass) {
  test::run_ranks(2, [](distributed::Communicator& communicator) {
    EXPECT_NO_THROW(require_one_instruction_set(communicator, at::kCPU));
  });
}

TEST(ExecutionEnvironment, OneRankThatDiffersIsADifference) {
  EXPECT_EQ(by_runs({"AVX2", "AVX2", "AVX2"}), "AVX2");
  EXPECT_EQ(by_runs({"AVX2", "DEFAULT", "DEFAULT", "AVX2"}), "1 x AVX2, 2 x DEFAULT, 1 x AVX2");
  EXPECT_EQ(by_runs({"AVX2"}), "AVX2");
}

TEST(ExecutionEnvironment, ChangesAreNamedOneByOne) {
  const ExecutionEnvironment before{{"num_ranks", "2"}, {"threads_per_rank", "1"}, {"instruction_set", "AVX2"}};
  EXPECT_EQ(environment_changes(before, before), "");
  const ExecutionEnvironment now{{"num_ranks", "3"}, {"threads_per_rank", "1"}, {"instruction_set", "DEFAULT"}};
  EXPECT_EQ(environment_changes(before, now), "num_ranks was 2, is 3; instruction_set was AVX2, is DEFAULT");
}

// Checkpoints of an earlier version lack a fact; a reproducible run has none about its ranks.
TEST(ExecutionEnvironment, WhatOnlyOneSideNamesIsNoChange) {
  const ExecutionEnvironment before{{"num_ranks", "2"}, {"instruction_set", "AVX2"}};
  const ExecutionEnvironment now{{"instruction_set", "AVX2"}, {"device", "cpu"}};
  EXPECT_EQ(environment_changes(before, now), "");
}

}  // namespace
}  // namespace leda::training
