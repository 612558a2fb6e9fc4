#include "distributed/core/collective_journal.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <vector>

namespace leda::distributed {
namespace {

CollectiveCall call(std::string_view label = {}) {
  return {.operation = "all_reduce", .type = "Float", .count = 12, .label = label};
}

TEST(CollectiveJournal, KeepsCallsAndNotesInOrder) {
  CollectiveJournal journal;
  journal.note("step 1");
  const std::int64_t first = journal.begin(call("bucket 0, step 1"));
  journal.finish(first);
  const JournalSnapshot snapshot = journal.snapshot();
  ASSERT_EQ(snapshot.events.size(), 3U);
  EXPECT_EQ(snapshot.events[0].text, "step 1");
  EXPECT_EQ(snapshot.events[1].text, "all_reduce of 12 Float (bucket 0, step 1)");
  EXPECT_EQ(snapshot.events[1].state, EventState::begun);
  EXPECT_EQ(snapshot.events[2].state, EventState::finished);
  EXPECT_EQ(snapshot.events[2].text, snapshot.events[1].text);
  EXPECT_EQ(snapshot.last_note, "step 1");
  EXPECT_EQ(snapshot.num_begun, 1);
  EXPECT_EQ(journal.num_events(), 3);
  EXPECT_EQ(journal.num_finished(), 1);
}

TEST(CollectiveJournal, ForgetsTheOldestFirst) {
  CollectiveJournal journal(3);
  for (int i = 0; i < 5; ++i) journal.note(std::to_string(i));
  const JournalSnapshot snapshot = journal.snapshot();
  ASSERT_EQ(snapshot.events.size(), 3U);
  EXPECT_EQ(snapshot.events.front().text, "2");
  EXPECT_EQ(snapshot.events.back().text, "4");
  EXPECT_EQ(journal.num_events(), 5);
}

TEST(CollectiveJournal, ACollectiveWhoseBeginningIsForgottenMayStillFinish) {
  CollectiveJournal journal(2);
  const std::int64_t number = journal.begin(call());
  journal.note("a");
  journal.note("b");
  journal.finish(number);
  EXPECT_EQ(journal.snapshot().events.back().sequence, number);
}

TEST(CollectiveJournal, KnowsWhatTheHostIsBlockedIn) {
  CollectiveJournal journal;
  const std::int64_t number = journal.begin(call());
  EXPECT_FALSE(journal.snapshot().waits_in.has_value());
  {
    const CollectiveJournal::Blocked blocked(journal, number);
    ASSERT_TRUE(journal.snapshot().waits_in.has_value());
    EXPECT_EQ(journal.snapshot().waits_in->text, call().text());
  }
  EXPECT_FALSE(journal.snapshot().waits_in.has_value());
}

TEST(CollectiveJournal, ThreadsMayWriteAtOnce) {
  CollectiveJournal journal(64);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&journal] {
      for (int i = 0; i < 500; ++i) journal.finish(journal.begin(call("step")));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(journal.num_events(), 4000);
  EXPECT_EQ(journal.num_finished(), 2000);
  EXPECT_EQ(journal.snapshot().num_begun, 2000);
}

TEST(CollectiveJournal, TheBlockedThreadsProcessorTimeGrowsOnlyWhileItRuns) {
  CollectiveJournal journal;
  EXPECT_FALSE(journal.blocked_processor_seconds());
  std::atomic<bool> runs{true};
  std::atomic<bool> is_over{false};
  std::thread blocked([&] {
    const CollectiveJournal::Blocked wait(journal, journal.begin({.operation = "barrier"}));
    while (runs) continue;
    is_over.wait(false);
  });
  while (journal.blocked_processor_seconds().value_or(0.0) < 0.05) std::this_thread::yield();
  runs = false;
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const std::optional<double> before = journal.blocked_processor_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_EQ(journal.blocked_processor_seconds(), before);
  is_over = true;
  is_over.notify_all();
  blocked.join();
  EXPECT_FALSE(journal.blocked_processor_seconds());
}

}  // namespace
}  // namespace leda::distributed
