#include "logging/trace.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::logging {
namespace {

using nlohmann::json;

json parsed(const std::filesystem::path& path) {
  std::ifstream file(path);
  return json::parse(file);
}

std::vector<json> named(const json& events, const std::string& name) {
  std::vector<json> found;
  for (const json& event : events) {
    if (event.at("name") == name) found.push_back(event);
  }
  return found;
}

class TraceTest : public testing::Test {
 protected:
  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "trace" / "rank_3.json";
  std::FILE* errors_ = std::tmpfile();
  Console console_{3, errors_, errors_};

  void TearDown() override { std::fclose(errors_); }
  int num_error_lines() {
    std::rewind(errors_);
    int lines = 0;
    for (int c = std::fgetc(errors_); c != EOF; c = std::fgetc(errors_)) lines += c == '\n' ? 1 : 0;
    return lines;
  }
};

TEST_F(TraceTest, EveryFlushLeavesAWholeFile) {
  Trace trace(path_, 3, "host", {}, console_);
  ASSERT_TRUE(trace.is_on());
  for (int step = 0; step < 3; ++step) {
    { const Span span(&trace, "forward", step); }
    trace.flush();
    // Read while the trace is still open: this is what a killed run leaves.
    EXPECT_EQ(named(parsed(path_), "forward").size(), static_cast<std::size_t>(step + 1));
  }
}

TEST_F(TraceTest, TimesAreMicrosecondsOnTheClockOfRankZero) {
  const TraceClock clock{.offset_seconds = 100.0, .uncertainty_seconds = 1e-4, .origin_seconds = 150.0};
  {
    Trace trace(path_, 3, "host", clock, console_);
    trace.add_span("forward", 51.0, 51.5, {{"step", 7}});
  }
  const json events = parsed(path_);
  const json span = named(events, "forward").at(0);
  EXPECT_NEAR(span.at("ts"), 1e6, 1e-3);
  EXPECT_NEAR(span.at("dur"), 0.5e6, 1e-3);
  EXPECT_EQ(span.at("pid"), 3);
  EXPECT_EQ(span.at("ph"), "X");
  EXPECT_EQ(span.at("args").at("step"), 7);
  const json facts = named(events, "clock").at(0).at("args");
  EXPECT_EQ(facts.at("offset_to_rank_0_seconds"), 100.0);
  EXPECT_EQ(facts.at("uncertainty_seconds"), 1e-4);
}

TEST_F(TraceTest, BucketsMayOverlapAndKeepTheirDetails) {
  {
    Trace trace(path_, 3, "host", {}, console_);
    trace.add_bucket(1.0, 3.0, {{"step", 0}, {"index", 0}, {"bytes", 1024}});
    trace.add_bucket(2.0, 4.0, {{"step", 0}, {"index", 1}, {"bytes", 4096}});
  }
  const auto events = named(parsed(path_), "bucket");
  ASSERT_EQ(events.size(), 4u);
  EXPECT_EQ(events[0].at("ph"), "b");
  EXPECT_EQ(events[1].at("ph"), "e");
  EXPECT_EQ(events[0].at("id"), events[1].at("id"));
  EXPECT_NE(events[0].at("id"), events[2].at("id"));
  EXPECT_EQ(events[2].at("args").at("bytes"), 4096);
}

TEST_F(TraceTest, ThreadsMayWriteAtOnce) {
  {
    Trace trace(path_, 3, "host", {}, console_);
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&trace] {
        for (int i = 0; i < 1000; ++i) trace.add_span("forward", i, i + 1, {{"step", i}});
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  EXPECT_EQ(named(parsed(path_), "forward").size(), 4000u);
}

TEST_F(TraceTest, WaitingIsAddedUpEvenWhenOff) {
  Trace off;
  const double begin = base::steady_seconds();
  { const Span work(&off, "forward", 0); }
  EXPECT_EQ(off.seconds_blocked(), 0.0);
  {
    const Span wait(&off, "exposed wait", 0, Span::Kind::exposed_wait);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_GE(off.seconds_blocked(), 0.005);
  EXPECT_LE(off.seconds_blocked(), base::steady_seconds() - begin);
  { const Span nowhere(nullptr, "forward", 0); }
}

TEST_F(TraceTest, AFileThatCannotBeWrittenIsOneComplaint) {
  std::ofstream(folder_.path() / "trace") << "a file where the folder should be";
  Trace trace(path_, 3, "host", {}, console_);
  EXPECT_FALSE(trace.is_on());
  { const Span span(&trace, "forward", 0); }
  trace.flush();
  EXPECT_EQ(num_error_lines(), 1);
}

}  // namespace
}  // namespace leda::logging
