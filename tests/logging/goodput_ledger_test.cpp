#include "logging/goodput_ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::logging {
namespace {

using nlohmann::json;

constexpr double kEpsilon = 1e-9;

double sum_of(const AttemptAccount& attempt) {
  return std::accumulate(attempt.seconds.begin(), attempt.seconds.end(), attempt.lost_seconds);
}

class GoodputLedgerTest : public testing::Test {
 protected:
  void TearDown() override { std::fclose(errors_); }

  void append(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }
  // A line of the attempt that was started last; `seconds` names activities.
  void line(const std::string& event, double elapsed, const json& seconds, const json& fields = json::object()) {
    json text{{"event", event}, {"time", begin_ + elapsed}, {"attempt", attempt_}, {"elapsed", elapsed}};
    text["seconds"] = seconds;
    text.update(fields);
    append(text.dump() + "\n");
  }
  void start(double begin, int ranks, const json& fields = json::object()) {
    begin_ = begin;
    ++attempt_;
    json facts{{"format", "leda-ledger"}, {"version", 1}, {"begin", begin}, {"ranks", ranks}, {"batch_job", ""}};
    facts.update(fields);
    line("start", 0.0, json::object(), facts);
  }
  void step(double elapsed, const json& seconds, const std::string& training, std::int64_t reached) {
    line("step", elapsed, seconds, {{"phase", training}, {"step", reached}});
  }
  void begin_training(double elapsed, const json& seconds, const std::string& training, std::int64_t reached) {
    line("begin_phase", elapsed, seconds, {{"phase", training}, {"step", reached}});
  }
  std::vector<json> lines() const {
    std::vector<json> found;
    std::ifstream file(path_);
    for (std::string text; std::getline(file, text);) found.push_back(json::parse(text));
    return found;
  }
  std::vector<AttemptAccount> attempts() const { return read_ledger(path_); }
  static void pass() { std::this_thread::sleep_for(std::chrono::milliseconds(3)); }

  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "ledger.jsonl";
  std::FILE* errors_ = std::tmpfile();
  Console console_{0, errors_, errors_};
  double begin_ = 0.0;
  int attempt_ = 0;
};

TEST_F(GoodputLedgerTest, AtEveryLineTheActivitiesAddUpToTheWallTime) {
  const double process_start = base::unix_seconds() - 5.0;
  {
    GoodputLedger ledger(path_, {.num_ranks = 2, .process_start = process_start, .host = "here"}, console_);
    pass();
    ledger.begin_training("pretrain", 0);
    {
      const ActivityScope steps(&ledger, Activity::step);
      pass();
      {
        const ActivityScope validation(&ledger, Activity::validation);
        pass();
      }
      {
        const ActivityScope checkpoint(&ledger, Activity::checkpoint);
        ledger.note_snapshot(4);
        pass();
      }
      ledger.note_checkpoint(4, 0.003, 0.5);
      ledger.split_step(0.001, 0.0005);
      ledger.note_step(5);
    }
    ledger.finish(85);
  }
  const std::vector<json> found = lines();
  ASSERT_EQ(found.size(), 6U);
  for (const json& one : found) {
    double sum = 0.0;
    for (const auto& [name, seconds] : one.at("seconds").items()) sum += seconds.get<double>();
    EXPECT_NEAR(sum, one.at("elapsed").get<double>(), kEpsilon);
    // Two clocks: what the parts add up to has passed on the calendar too.
    EXPECT_NEAR(sum, one.at("time").get<double>() - process_start, 0.05);
  }
  const std::vector<AttemptAccount> read = attempts();
  ASSERT_EQ(read.size(), 1U);
  EXPECT_NEAR(sum_of(read[0]), read[0].allocated_seconds(), 1e-6);  // calendar times have fewer digits
  EXPECT_GE(seconds_of(read[0].seconds, Activity::start_up), 5.0);
  EXPECT_GE(seconds_of(read[0].seconds, Activity::validation), 0.003);
  EXPECT_GE(seconds_of(read[0].seconds, Activity::checkpoint), 0.003);
  EXPECT_DOUBLE_EQ(seconds_of(read[0].seconds, Activity::data_wait), 0.001);
  EXPECT_DOUBLE_EQ(seconds_of(read[0].seconds, Activity::exposed_communication), 0.0005);
  EXPECT_EQ(read[0].exit_code, 85);
  EXPECT_EQ(read[0].num_checkpoints, 1);
  EXPECT_EQ(read[0].lost_seconds, 0.0);
}

TEST_F(GoodputLedgerTest, StepsThatAreMadeAgainAreLostToTheAttemptThatMadeThemFirst) {
  start(1000.0, 1);
  begin_training(10.0, {{"start_up", 10.0}}, "pretrain", 0);
  step(30.0, {{"start_up", 10.0}, {"step", 15.0}, {"data_wait", 5.0}}, "pretrain", 10);
  line("checkpoint", 30.0, {{"start_up", 10.0}, {"step", 15.0}, {"data_wait", 5.0}},
       {{"saved_step", 10}, {"trained_seconds", 20.0}, {"pause_seconds", 0.1}, {"write_seconds", 1.0}});
  step(50.0, {{"start_up", 10.0}, {"step", 30.0}, {"data_wait", 10.0}}, "pretrain", 20);
  ASSERT_EQ(attempts().size(), 1U);
  EXPECT_NEAR(attempts()[0].at_risk_seconds, 20.0, kEpsilon);
  EXPECT_EQ(num_failures(attempts()), 1);

  start(1100.0, 1);  // killed; goes on from 15, a checkpoint between two lines
  begin_training(5.0, {{"start_up", 5.0}}, "pretrain", 15);
  step(15.0, {{"start_up", 5.0}, {"step", 10.0}}, "pretrain", 20);
  line("end", 15.0, {{"start_up", 5.0}, {"step", 10.0}}, {{"exit_code", 0}});

  const std::vector<AttemptAccount> read = attempts();
  ASSERT_EQ(read.size(), 2U);
  EXPECT_NEAR(read[0].lost_seconds, 10.0, kEpsilon);  // half of steps 11 to 20
  EXPECT_NEAR(seconds_of(read[0].seconds, Activity::step), 30.0 * 0.75, kEpsilon);
  EXPECT_NEAR(seconds_of(read[0].seconds, Activity::data_wait), 10.0 * 0.75, kEpsilon);
  EXPECT_NEAR(sum_of(read[0]), 50.0, kEpsilon);
  EXPECT_NEAR(read[1].away_seconds, 50.0, kEpsilon);
  EXPECT_EQ(read[1].lost_seconds, 0.0);
  EXPECT_FALSE(read[0].has_ended);
  EXPECT_EQ(num_failures(read), 1);
  EXPECT_NEAR(goodput(read), (22.5 + 10.0) / (50.0 + 15.0), kEpsilon);
}

TEST_F(GoodputLedgerTest, WhatIsLostTwiceIsCountedOnceForEachTimeItWasMade) {
  start(0.0, 1);
  begin_training(0.0, json::object(), "a", 0);
  step(10.0, {{"step", 10.0}}, "a", 10);
  start(20.0, 1);
  begin_training(0.0, json::object(), "a", 0);  // no checkpoint was complete
  step(8.0, {{"step", 8.0}}, "a", 8);
  begin_training(8.0, {{"step", 8.0}}, "a", 4);  // rolled back within the attempt
  step(14.0, {{"step", 14.0}}, "a", 10);
  start(40.0, 1);
  begin_training(0.0, json::object(), "b", 0);  // another training says nothing about the first
  line("end", 1.0, {{"step", 1.0}}, {{"exit_code", 86}});
  const std::vector<AttemptAccount> read = attempts();
  ASSERT_EQ(read.size(), 3U);
  EXPECT_NEAR(read[0].lost_seconds, 10.0, kEpsilon);
  EXPECT_NEAR(read[1].lost_seconds, 4.0, kEpsilon);
  EXPECT_NEAR(seconds_of(read[1].seconds, Activity::step), 10.0, kEpsilon);
}

TEST_F(GoodputLedgerTest, ARequeuedJobWaitsInTheQueueAndARestartedOneIsAway) {
  start(100.0, 2, {{"batch_job", "7"}, {"submitted", 40.0}});
  line("end", 50.0, {{"step", 50.0}}, {{"exit_code", 85}});
  start(180.0, 4, {{"batch_job", "7"}});
  line("end", 10.0, {{"step", 10.0}}, {{"exit_code", 85}});
  start(250.0, 1, {{"batch_job", "8"}, {"submitted", 230.0}});
  line("end", 30.0, {{"step", 30.0}}, {{"exit_code", 0}});
  const std::vector<AttemptAccount> read = attempts();
  ASSERT_EQ(read.size(), 3U);
  EXPECT_NEAR(read[0].queue_seconds, 60.0, kEpsilon);
  EXPECT_NEAR(read[1].queue_seconds, 30.0, kEpsilon);
  EXPECT_NEAR(read[1].away_seconds, 0.0, kEpsilon);
  EXPECT_NEAR(read[2].queue_seconds, 20.0, kEpsilon);
  EXPECT_NEAR(read[2].away_seconds, 40.0, kEpsilon);
  EXPECT_EQ(num_failures(read), 0);
  // Attempts on different numbers of ranks: 2 * 50 + 4 * 10 + 1 * 30.
  EXPECT_THAT(goodput_table(read), testing::HasSubstr("170.0 allocated rank-seconds"));
  EXPECT_NEAR(goodput(read), 1.0, kEpsilon);
}

TEST_F(GoodputLedgerTest, AnAllocationIsAccountedForWithoutGapOrOverlap) {
  const double now = base::unix_seconds();
  const AttemptFacts facts{.process_start = now - 2.0, .scheduler_job = "7", .allocated = now - 60.0};
  { GoodputLedger(path_, facts, console_).finish(85); }
  { GoodputLedger(path_, facts, console_).finish(0); }  // started again in the same allocation
  const std::vector<AttemptAccount> read = attempts();
  ASSERT_EQ(read.size(), 2U);
  EXPECT_NEAR(read[0].begin, now - 60.0, 1e-6);
  EXPECT_NEAR(seconds_of(read[0].seconds, Activity::start_up), 60.0, 0.5);
  EXPECT_NEAR(read[1].queue_seconds + read[1].away_seconds, 0.0, 0.5);
  EXPECT_EQ(read[1].number, 2);
}

TEST_F(GoodputLedgerTest, ATornLineIsTakenAwayAndAnUnreadableOnePassedOver) {
  { GoodputLedger(path_, {.process_start = base::unix_seconds()}, console_).finish(85); }
  append("{\"event\": \"step\", \"attempt\": \"one\"}\n{\"event\": \"st");
  EXPECT_EQ(attempts().size(), 1U);
  const GoodputLedger next(path_, {.process_start = base::unix_seconds()}, console_);
  EXPECT_EQ(next.history().size(), 1U);
  EXPECT_EQ(lines().size(), 4U);
  EXPECT_EQ(lines().back().at("attempt"), 2);
}

TEST_F(GoodputLedgerTest, WithoutFinishItEndsWithAnErrorAndThatIsAFailureOnceItHasTrained) {
  { const GoodputLedger ledger(path_, {.process_start = base::unix_seconds()}, console_); }
  EXPECT_TRUE(attempts()[0].has_ended);
  EXPECT_EQ(attempts()[0].exit_code, std::nullopt);
  EXPECT_EQ(num_failures(attempts()), 0);
  {
    GoodputLedger ledger(path_, {.process_start = base::unix_seconds()}, console_);
    ledger.begin_training("pretrain", 0);
  }
  EXPECT_EQ(num_failures(attempts()), 1);
}

TEST_F(GoodputLedgerTest, ALaterVersionIsRefusedByTheReaderAndAWarningToARun) {
  append(R"({"event": "start", "format": "leda-ledger", "version": 2, "attempt": 1, "begin": 1.0})"
         "\n");
  EXPECT_THROW(attempts(), base::Error);
  GoodputLedger(path_, {.process_start = base::unix_seconds()}, console_).finish(0);
  EXPECT_EQ(lines().size(), 1U) << "nothing is added to what is not understood";
  EXPECT_GT(std::ftell(errors_), 0);
}

TEST_F(GoodputLedgerTest, ALedgerThatIsOffWritesNothingAndNobodyNeedsOne) {
  GoodputLedger off;
  off.begin_training("pretrain", 0);
  off.note_step(3);
  off.finish(0);
  EXPECT_EQ(off.enter(Activity::step), Activity::step);
  const ActivityScope nobody(nullptr, Activity::step);
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_TRUE(attempts().empty());
}

TEST_F(GoodputLedgerTest, SignsOfLifeComeAtMostSoOften) {
  GoodputLedger ledger(path_, {.process_start = base::unix_seconds()}, console_);
  for (int i = 0; i < 100; ++i) ledger.note_heartbeat(3600.0);
  EXPECT_EQ(lines().size(), 1U);
  ledger.note_heartbeat(0.0);
  EXPECT_EQ(lines().back().at("event"), "alive");
}

}  // namespace
}  // namespace leda::logging
