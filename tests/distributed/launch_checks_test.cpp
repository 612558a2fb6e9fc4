#include "distributed/start/launch_checks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::distributed {
namespace {

using testing::HasSubstr;

// Four ranks, two a host, on GPUs of their own; nothing wrong with them.
std::vector<LaunchFacts> sound_launch() {
  std::vector<LaunchFacts> facts;
  for (int rank = 0; rank < 4; ++rank) {
    LaunchFacts& fact = facts.emplace_back();
    fact.rank = rank;
    fact.local_size = 2;
    fact.host = rank < 2 ? "alpha" : "beta";
    fact.process = 100 + rank;
    fact.world_size = 4;
    fact.announced_size = 4;
    fact.announced_by = "OMPI_COMM_WORLD_SIZE";
    fact.device.is_needed = true;
    fact.device.num_visible = 2;
    fact.device.bus_id = rank % 2 == 0 ? "0000:3b:00.0" : "0000:86:00.0";
    fact.build = "program 1, LibTorch 2";
    fact.clock_offset_seconds = 0.01 * rank;
    fact.num_threads = 4;
    fact.cores = {0, 1, 2, 3, 4, 5, 6, 7};
    fact.shm_free_bytes = std::int64_t{8} << 30;
  }
  return facts;
}

// The one check that is not in order.
LaunchCheck only_fault(const std::vector<LaunchFacts>& facts) {
  LaunchCheck fault;
  int num_faults = 0;
  for (const LaunchCheck& check : judge_launch(facts)) {
    if (check.result == CheckResult::in_order) continue;
    ++num_faults;
    fault = check;
    EXPECT_FALSE(check.why.empty()) << check.name;
    EXPECT_FALSE(check.remedy.empty()) << check.name;
  }
  EXPECT_EQ(num_faults, 1);
  return fault;
}

TEST(LaunchChecks, ASoundLaunchIsInOrder) {
  const std::vector<LaunchCheck> checks = judge_launch(sound_launch());
  EXPECT_EQ(checks.size(), 7U);
  for (const LaunchCheck& check : checks) EXPECT_EQ(check.result, CheckResult::in_order) << check.finding;
}

TEST(LaunchChecks, AWorldOfAnotherSizeThanAnnouncedIsRefused) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (LaunchFacts& rank : facts) rank.announced_size = 8;
  const LaunchCheck fault = only_fault(facts);
  EXPECT_EQ(fault.result, CheckResult::refused);
  EXPECT_THAT(fault.finding, HasSubstr("OMPI_COMM_WORLD_SIZE announces 8 ranks"));
  EXPECT_THAT(fault.finding, HasSubstr("connected 4"));
}

TEST(LaunchChecks, TwoRanksOnOneDeviceAreRefusedByNumber) {
  std::vector<LaunchFacts> facts = sound_launch();
  facts[3].device.bus_id = facts[2].device.bus_id;
  const LaunchCheck fault = only_fault(facts);
  EXPECT_EQ(fault.result, CheckResult::refused);
  EXPECT_THAT(fault.finding, HasSubstr("ranks 2 and 3 on beta share the GPU 0000:3b:00.0"));
}

TEST(LaunchChecks, EqualBusIdsOnDifferentHostsAreDifferentDevices) {
  std::vector<LaunchFacts> facts = sound_launch();
  EXPECT_EQ(facts[0].device.bus_id, facts[2].device.bus_id);
  EXPECT_EQ(judge_launch(facts)[1].result, CheckResult::in_order);
}

TEST(LaunchChecks, FewerVisibleDevicesThanRanksOnAHostAreRefused) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (LaunchFacts& rank : facts) rank.local_size = 4;
  EXPECT_THAT(only_fault(facts).finding, HasSubstr("sees 2 GPUs, for 4 ranks"));
  facts = sound_launch();
  facts[1].device.num_visible = 0;
  EXPECT_THAT(only_fault(facts).finding, HasSubstr("rank 1 on alpha sees no GPU"));
}

TEST(LaunchChecks, OneVisibleDeviceEachIsHowSchedulersHandThemOut) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (LaunchFacts& rank : facts) rank.device.num_visible = 1;
  EXPECT_EQ(judge_launch(facts)[1].result, CheckResult::in_order);
}

TEST(LaunchChecks, OnTheCpuDevicesDoNotMatter) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (LaunchFacts& rank : facts) rank.device = {};
  EXPECT_EQ(judge_launch(facts)[1].result, CheckResult::in_order);
}

TEST(LaunchChecks, RanksOfDifferentBuildsAreRefused) {
  std::vector<LaunchFacts> facts = sound_launch();
  facts[1].build = "program 9, LibTorch 2";
  const LaunchCheck fault = only_fault(facts);
  EXPECT_EQ(fault.result, CheckResult::refused);
  EXPECT_THAT(fault.finding, HasSubstr("rank 1 on alpha: program 9"));
  EXPECT_THAT(fault.finding, HasSubstr("rank 0 on alpha, ranks 2 and 3 on beta: program 1"));
}

TEST(LaunchChecks, ARunFolderThatIsNotSharedIsRefused) {
  std::vector<LaunchFacts> facts = sound_launch();
  facts[2].sees_run_folder = false;
  facts[3].sees_run_folder = false;
  const LaunchCheck fault = only_fault(facts);
  EXPECT_EQ(fault.result, CheckResult::refused);
  EXPECT_THAT(fault.finding, HasSubstr("ranks 2 and 3 on beta see another run folder than rank 0 on alpha"));
  EXPECT_THAT(fault.remedy, HasSubstr("run.folder"));
}

TEST(LaunchChecks, ClocksApartAreAWarningAndFarApartRefused) {
  std::vector<LaunchFacts> facts = sound_launch();
  facts[3].clock_offset_seconds = -2.0;
  EXPECT_EQ(only_fault(facts).result, CheckResult::warning);
  EXPECT_THAT(only_fault(facts).finding, HasSubstr("rank 3 on beta"));
  facts[3].clock_offset_seconds = 60.0;
  EXPECT_EQ(only_fault(facts).result, CheckResult::refused);
}

TEST(LaunchChecks, MoreThreadsThanCoresAreAWarningPerHost) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (const int rank : {2, 3}) facts[static_cast<std::size_t>(rank)].cores = {0, 1};
  const LaunchCheck fault = only_fault(facts);
  EXPECT_EQ(fault.result, CheckResult::warning);
  EXPECT_EQ(fault.finding, "ranks 2 and 3 on beta: 8 threads for 2 cores");
}

TEST(LaunchChecks, RanksBoundToCoresOfTheirOwnHaveThemAll) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (LaunchFacts& rank : facts) rank.cores.assign(4, 0);
  for (LaunchFacts& rank : facts) {
    for (int i = 0; i < 4; ++i) rank.cores[static_cast<std::size_t>(i)] = 4 * (rank.rank % 2) + i;
  }
  EXPECT_EQ(judge_launch(facts)[5].result, CheckResult::in_order);
}

TEST(LaunchChecks, ASmallShmIsAWarningAndAFullOneRefused) {
  std::vector<LaunchFacts> facts = sound_launch();
  for (LaunchFacts& rank : facts) rank.shm_free_bytes = std::int64_t{20} << 20;
  EXPECT_EQ(only_fault(facts).result, CheckResult::warning);
  for (LaunchFacts& rank : facts) rank.shm_free_bytes = 100000;
  EXPECT_EQ(only_fault(facts).result, CheckResult::refused);
  EXPECT_THAT(only_fault(facts).finding, HasSubstr("/dev/shm on alpha has 0.1 MiB free for 2 ranks"));
}

TEST(LaunchChecks, FactsOfAllRanksComeToAllRanks) {
  const test::TemporaryFolder folder;
  test::run_ranks(3, [&](Communicator& communicator) {
    const auto facts = gather_launch_facts(
        communicator, {.run_folder = folder.path(), .num_threads = 1 + communicator.rank(), .device = {}});
    ASSERT_EQ(facts.size(), 3U);
    for (int rank = 0; rank < 3; ++rank) {
      const LaunchFacts& fact = facts[static_cast<std::size_t>(rank)];
      EXPECT_EQ(fact.rank, rank);
      EXPECT_EQ(fact.num_threads, 1 + rank);
      EXPECT_TRUE(fact.sees_run_folder);
      EXPECT_EQ(fact.build, facts[0].build);
      EXPECT_LT(std::abs(fact.clock_offset_seconds), 5.0);
      EXPECT_FALSE(fact.cores.empty());
    }
  });
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// A rank whose folder of that name is another one.
TEST(LaunchChecks, ARankThatSeesAnotherFolderIsFound) {
  const test::TemporaryFolder shared;
  const test::TemporaryFolder own;
  test::run_ranks(2, [&](Communicator& communicator) {
    const auto facts =
        gather_launch_facts(communicator, {.run_folder = communicator.rank() == 0 ? shared.path() : own.path()});
    EXPECT_TRUE(facts[0].sees_run_folder);
    EXPECT_FALSE(facts[1].sees_run_folder);
  });
}

TEST(LaunchChecks, AFolderThatRankZeroCannotWriteIsAnErrorOnAllRanks) {
  const test::TemporaryFolder folder;
  test::run_ranks(2, [&](Communicator& communicator) {
    EXPECT_THROW(gather_launch_facts(communicator, {.run_folder = folder.path() / "missing"}), base::ErrorOnAllRanks);
  });
}

}  // namespace
}  // namespace leda::distributed
