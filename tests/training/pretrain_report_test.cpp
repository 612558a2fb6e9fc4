#include "training/stages/pretrain_report.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

#include "storage/durable_file.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::training {
namespace {

std::string report(int step, int tokens) {
  return fmt::format(
      R"({{"time": 1.0, "step": {}, "loss": 0.5, "tokens_level_1": {}, "perplexity_level_1": 2.5, "dead_words_level_1": {}}})"
      "\n",
      step, tokens, 1500 - tokens);
}

// The bytes of the picture that a log makes; empty if it makes none.
std::string picture_of(const std::string& log) {
  const test::TemporaryFolder folder;
  std::FILE* nowhere = std::fopen("/dev/null", "w");
  logging::Console console(0, nowhere, nowhere);
  storage::write_file_durably(folder.path() / "log.jsonl", log);
  draw_token_usage(folder.path(), console);
  std::fclose(nowhere);
  const std::filesystem::path picture = folder.path() / "token_usage.png";
  return std::filesystem::exists(picture) ? storage::read_text_file(picture) : "";
}

TEST(TokenUsagePicture, ShowsTheReportsOfTheLog) {
  const std::string picture = picture_of(report(50, 10) + report(100, 20) + report(150, 15));
  EXPECT_EQ(picture.substr(1, 3), "PNG");
  EXPECT_NE(picture, picture_of(report(50, 10) + report(100, 20) + report(150, 16)));
}

TEST(TokenUsagePicture, GoesOnOverARestartAndOverWhatIsNoReport) {
  const std::string whole = picture_of(report(50, 10) + report(100, 20) + report(150, 15));
  const std::string restarted = report(50, 10) + report(100, 7) +
                                R"({"time": 2.0, "step": 100, "event": "checkpoint"})" + "\n" + report(100, 20) +
                                report(150, 15) + R"({"time": 3.0, "st)";
  EXPECT_EQ(picture_of(restarted), whole);
}

TEST(TokenUsagePicture, ALogWithoutFiguresMakesNone) {
  EXPECT_EQ(picture_of(""), "");
  EXPECT_EQ(picture_of(R"({"time": 1.0, "step": 5, "loss": 0.5})"), "");
  const test::TemporaryFolder folder;
  logging::Console console(0);
  EXPECT_NO_THROW(draw_token_usage(folder.path() / "absent", console));
}

}  // namespace
}  // namespace leda::training
