#include "distributed/watch/watchdog.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::distributed {
namespace {

using testing::HasSubstr;

constexpr double kTimeout = 1.2;

void sleep_seconds(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

// Ranks of one pretended job: a journal and a watchdog each, in this process. A rank without a watchdog is one whose
// process does not run.
class PretendedJob {
 public:
  explicit PretendedJob(int num_ranks) : journals_(static_cast<std::size_t>(num_ranks)) {
    for (auto& journal : journals_) journal = std::make_unique<CollectiveJournal>();
  }

  void watch(int rank) {
    const WatchdogOptions options{.rank = rank,
                                  .num_ranks = static_cast<int>(journals_.size()),
                                  .folder = folder_.path() / "events",
                                  .timeout_seconds = kTimeout};
    watchdogs_.push_back(std::make_unique<Watchdog>(journal(rank), options, [this](const base::Error& error) {
      const std::scoped_lock lock(mutex_);
      messages_.push_back(error.what());
    }));
  }
  // In a collective, until the scope ends.
  std::unique_ptr<CollectiveJournal::Blocked> wait_in(int rank, std::string_view operation) {
    return std::make_unique<CollectiveJournal::Blocked>(journal(rank), journal(rank).begin({.operation = operation}));
  }
  // The first message, or nothing within the time.
  std::string message(double seconds) {
    const base::Stopwatch stopwatch;
    while (stopwatch.seconds() < seconds) {
      sleep_seconds(0.02);
      const std::scoped_lock lock(mutex_);
      if (!messages_.empty()) return messages_.front();
    }
    return "";
  }

  // Of the watchdog that was made first, second, ...
  Watchdog& watchdog(std::size_t index) { return *watchdogs_[index]; }

  CollectiveJournal& journal(int rank) { return *journals_[static_cast<std::size_t>(rank)]; }
  std::filesystem::path folder() const { return folder_.path() / "events"; }

 private:
  test::TemporaryFolder folder_;
  std::vector<std::unique_ptr<CollectiveJournal>> journals_;
  std::mutex mutex_;
  std::vector<std::string> messages_;
  std::vector<std::unique_ptr<Watchdog>> watchdogs_;
};

TEST(Watchdog, NamesTheRankWhoseProcessDoesNotRunAndLeavesTheLastEvents) {
  for (const int stopped : {0, 2}) {
    PretendedJob job(3);
    std::vector<std::unique_ptr<CollectiveJournal::Blocked>> waits;
    for (int rank = 0; rank < 3; ++rank) {
      if (rank == stopped) continue;
      job.watch(rank);
      job.journal(rank).note("step 41");
      waits.push_back(job.wait_in(rank, "barrier"));
    }
    const base::Stopwatch stopwatch;
    const std::string message = job.message(kTimeout + 5.0);
    EXPECT_LT(stopwatch.seconds(), kTimeout + 5.0);
    EXPECT_THAT(message, HasSubstr(ranks_text({stopped}) + " has sent no heartbeat"));
    EXPECT_THAT(message, HasSubstr("in barrier"));
    const auto dump = nlohmann::json::parse(storage::read_text_file(job.folder() / "rank_1.json"));
    EXPECT_EQ(dump.at("rank"), 1);
    EXPECT_EQ(dump.at("events").at(0).at("text"), "step 41");
    EXPECT_EQ(dump.at("events").at(1).at("state"), "begun");
    EXPECT_TRUE(dump.at("is_waiting"));
    EXPECT_FALSE(std::filesystem::exists(job.folder() / ("rank_" + std::to_string(stopped) + ".json")));
  }
}

TEST(Watchdog, NamesTheRankThatIsStuckAtWork) {
  PretendedJob job(2);
  job.watch(0);
  job.watch(1);
  job.journal(1).note("step 7: waits for data");
  const auto wait = job.wait_in(0, "all_reduce");
  const std::string message = job.message(kTimeout + 5.0);
  EXPECT_THAT(message, HasSubstr("rank 1 stands still"));
  EXPECT_THAT(message, HasSubstr("step 7: waits for data"));
  EXPECT_THAT(message, HasSubstr("rank 0 in all_reduce"));
}

// Ranks that wait outside a communicator's call, as on a device.
TEST(Watchdog, TheReportBeforeExitNamesTheRankThatGivesNone) {
  PretendedJob job(3);
  for (const int rank : {0, 2}) {
    job.watch(rank);
    job.journal(rank).finish(job.journal(rank).begin({.operation = "all_reduce"}));
  }
  std::string other;
  std::thread other_rank([&] { other = job.watchdog(1).report_before_exit(); });
  const std::string mine = job.watchdog(0).report_before_exit();
  other_rank.join();
  EXPECT_THAT(mine, HasSubstr("rank 1 has sent no heartbeat"));
  EXPECT_EQ(mine, other);
}

TEST(Watchdog, TheReportBeforeExitNamesTheRankThatIsBehindAndLeavesItsEvents) {
  PretendedJob job(3);
  for (const int rank : {0, 1, 2}) {
    job.watch(rank);
    for (int step = 0; step < (rank == 2 ? 2 : 3); ++step) {
      job.journal(rank).finish(job.journal(rank).begin({.operation = rank == 2 ? "gather" : "all_reduce"}));
    }
  }
  std::vector<std::thread> others;
  for (const std::size_t index : {1, 2}) others.emplace_back([&, index] { job.watchdog(index).report_before_exit(); });
  EXPECT_THAT(job.watchdog(0).report_before_exit(),
              HasSubstr("rank 2 and the other ranks wait in different collectives"));
  for (std::thread& other : others) other.join();
  const auto heartbeat = nlohmann::json::parse(storage::read_text_file(job.folder() / "rank_2.json"));
  EXPECT_EQ(heartbeat.at("events").size(), 4u);
}

// All ranks of a job of three wait in the same collective; those in `sleepers` without asking, the others as MPI does.
std::string message_of_waiting_ranks(const std::vector<int>& sleepers) {
  PretendedJob job(3);
  std::atomic<bool> is_over{false};
  std::vector<std::thread> ranks;
  for (const int rank : {0, 1, 2}) {
    job.watch(rank);
    const bool sleeps = std::find(sleepers.begin(), sleepers.end(), rank) != sleepers.end();
    ranks.emplace_back([&job, &is_over, rank, sleeps] {
      const auto wait = job.wait_in(rank, "all_reduce");
      if (sleeps) is_over.wait(false);
      while (!is_over) std::this_thread::yield();
    });
  }
  const std::string message = job.message(kTimeout + 5.0);
  is_over = true;
  is_over.notify_all();
  for (std::thread& rank : ranks) rank.join();
  return message;
}

TEST(Watchdog, NamesTheRankWhoseThreadSleepsInTheCollectiveThatAllWaitIn) {
  EXPECT_THAT(message_of_waiting_ranks({1}), HasSubstr("rank 1 stands still, asleep inside a collective"));
  EXPECT_THAT(message_of_waiting_ranks({0, 2}), HasSubstr("ranks 0 and 2 stand still, asleep inside a collective"));
}

TEST(Watchdog, WhereAllThreadsAskOrAllSleepInTheSameCollectiveItIsTheNetworks) {
  EXPECT_THAT(message_of_waiting_ranks({}), HasSubstr("the network, or MPI, stands still"));
  EXPECT_THAT(message_of_waiting_ranks({0, 1, 2}), HasSubstr("the network, or MPI, stands still"));
}

TEST(Watchdog, WaitsForARankThatNotesItsProgress) {
  PretendedJob job(2);
  job.watch(0);
  job.watch(1);
  const auto wait = job.wait_in(0, "barrier");
  const base::Stopwatch stopwatch;
  for (int slice = 0; stopwatch.seconds() < 3.0 * kTimeout; ++slice) {
    job.journal(1).note("slice " + std::to_string(slice));
    EXPECT_EQ(job.message(0.1), "");
  }
  // And names it once it stops doing so.
  EXPECT_THAT(job.message(kTimeout + 5.0), HasSubstr("rank 1 stands still"));
}

TEST(Watchdog, LetsAJobThatMovesAlone) {
  PretendedJob job(2);
  job.watch(0);
  job.watch(1);
  const base::Stopwatch stopwatch;
  while (stopwatch.seconds() < 2.0 * kTimeout) {
    for (const int rank : {0, 1}) job.journal(rank).finish(job.journal(rank).begin({.operation = "barrier"}));
    EXPECT_EQ(job.message(0.05), "");
  }
  EXPECT_FALSE(std::filesystem::exists(job.folder()));
}

TEST(Watchdog, SignsOfAnEarlierStartAreNone) {
  PretendedJob job(2);
  std::filesystem::create_directories(job.folder());
  const nlohmann::json old = {{"written_unix_seconds", base::unix_seconds() - 60.0}, {"is_waiting", true}};
  storage::write_file_durably(job.folder() / "rank_1.json", old.dump());
  job.watch(0);
  const auto wait = job.wait_in(0, "barrier");
  EXPECT_THAT(job.message(kTimeout + 5.0), HasSubstr("rank 1 has sent no heartbeat"));
}

TEST(Watchdog, WithoutAFolderSaysWhereTheRankStands) {
  CollectiveJournal journal;
  const CollectiveJournal::Blocked wait(journal, journal.begin({.operation = "barrier"}));
  std::atomic<bool> has_ended{false};
  std::string message;
  Watchdog watchdog(journal, {.rank = 3, .num_ranks = 4, .timeout_seconds = 0.2}, [&](const base::Error& error) {
    message = error.what();
    has_ended = true;
  });
  const base::Stopwatch stopwatch;
  while (!has_ended && stopwatch.seconds() < 5.0) sleep_seconds(0.02);
  ASSERT_TRUE(has_ended);
  EXPECT_THAT(message, HasSubstr("rank 3 has stood still"));
  EXPECT_THAT(message, HasSubstr("barrier"));
}

}  // namespace
}  // namespace leda::distributed
