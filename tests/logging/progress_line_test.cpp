#include "logging/progress_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <string>

namespace leda::logging {
namespace {

using testing::HasSubstr;

TEST(ProgressLine, DurationsReadAsClockTimes) {
  EXPECT_EQ(duration_text(0.0), "0:00");
  EXPECT_EQ(duration_text(65.4), "1:05");
  EXPECT_EQ(duration_text(3725.0), "1:02:05");
  EXPECT_EQ(duration_text(90061.0), "25:01:01");
  EXPECT_EQ(duration_text(-1.0), "?");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::quiet_NaN()), "?");
}

class ProgressLineInALog : public testing::Test {
 protected:
  ~ProgressLineInALog() override { std::fclose(output_); }

  std::string text() {
    std::rewind(output_);
    std::string text;
    for (int character = 0; (character = std::fgetc(output_)) != EOF;) text += static_cast<char>(character);
    return text;
  }

  std::FILE* output_ = std::tmpfile();
  Console console_{0, output_, output_};
};

TEST_F(ProgressLineInALog, SaysOneLinePerInterval) {
  ProgressLine progress(console_, "denoise", 200, 0, 3600.0);
  for (int step = 1; step <= 50; ++step) progress.update(step, "loss 0.5");
  const std::string line = text();
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, HasSubstr("denoise   0 %  step 1/200  loss 0.5  "));
}

TEST_F(ProgressLineInALog, SaysEveryUpdateWithoutAnInterval) {
  ProgressLine progress(console_, "denoise", 4, 0, 0.0);
  for (int step = 1; step <= 4; ++step) progress.update(step, "");
  progress.finish();
  const std::string lines = text();
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4);
  EXPECT_THAT(lines, HasSubstr(" 50 %  step 2/4"));
  EXPECT_THAT(lines, testing::EndsWith("100 %  step 4/4\n"));
}

TEST_F(ProgressLineInALog, FinishSaysWhatTheIntervalHeldBack) {
  ProgressLine progress(console_, "pretrain", 10, 5, 3600.0);
  progress.update(6, "loss 2");
  progress.update(10, "loss 1");
  progress.finish();
  EXPECT_THAT(text(), HasSubstr("100 %  step 10/10  loss 1\n"));
}

TEST_F(ProgressLineInALog, SurvivesStepsBeyondTheEndAndNoStepsAtAll) {
  ProgressLine beyond(console_, "a", 10, 0, 0.0);
  beyond.update(12, "");
  ProgressLine empty(console_, "b", 0, 0, 0.0);
  empty.finish();
  EXPECT_THAT(text(), HasSubstr("a 100 %  step 12/10"));
  EXPECT_THAT(text(), HasSubstr("b 100 %  step 0/0"));
}

}  // namespace
}  // namespace leda::logging
