#include "logging/json_lines_log.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::logging {
namespace {

using nlohmann::json;

std::vector<std::string> lines_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

class JsonLinesLogTest : public testing::Test {
 protected:
  void leave(const std::string& text) { std::ofstream(path_) << text; }

  test::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_.path() / "log.jsonl";
};

TEST_F(JsonLinesLogTest, ALineHoldsTimeStepEventAndScalarsInFull) {
  const double before = base::unix_seconds();
  JsonLinesLog log(path_);
  const std::vector<Scalar> scalars{{"loss", 0.1}, {"max_gradient_norm", 1.0 / 3.0}};
  log.write(12, scalars, "validation");
  log.write(13, {});
  const auto lines = lines_of(path_);
  ASSERT_EQ(lines.size(), 2u);
  const json line = json::parse(lines[0]);
  EXPECT_EQ(line.at("step"), 12);
  EXPECT_EQ(line.at("event"), "validation");
  EXPECT_EQ(line.at("loss").get<double>(), 0.1);
  EXPECT_EQ(line.at("max_gradient_norm").get<double>(), 1.0 / 3.0);
  EXPECT_GE(line.at("time").get<double>(), before);
  EXPECT_FALSE(json::parse(lines[1]).contains("event"));
}

TEST_F(JsonLinesLogTest, WhatIsNotFiniteBecomesText) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const std::vector<Scalar> scalars{{"a", std::nan("")}, {"b", kInfinity}, {"c", -kInfinity}};
  JsonLinesLog(path_).write(0, scalars);
  const json line = json::parse(lines_of(path_).at(0));
  EXPECT_EQ(line.at("a"), "NaN");
  EXPECT_EQ(line.at("b"), "Infinity");
  EXPECT_EQ(line.at("c"), "-Infinity");
}

TEST_F(JsonLinesLogTest, AnotherRunAppends) {
  JsonLinesLog(path_).write(1, {});
  JsonLinesLog(path_).write(2, {});
  EXPECT_EQ(lines_of(path_).size(), 2u);
}

TEST_F(JsonLinesLogTest, ATornLastLineIsTakenAway) {
  leave("{\"step\":1}\n{\"step\":2,\"lo");
  JsonLinesLog(path_).write(3, {});
  const auto lines = lines_of(path_);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0], "{\"step\":1}");
  EXPECT_EQ(json::parse(lines[1]).at("step"), 3);
}

TEST_F(JsonLinesLogTest, ATornOnlyLineLongerThanABlockIsTakenAway) {
  leave("{\"event\":\"" + std::string(10000, 'x'));
  JsonLinesLog(path_).write(3, {});
  EXPECT_EQ(lines_of(path_).size(), 1u);
}

TEST_F(JsonLinesLogTest, AWholeLastLineWithoutItsEndIsKept) {
  leave("{\"step\":1}\n{\"step\":2}");
  JsonLinesLog(path_).write(3, {});
  EXPECT_EQ(lines_of(path_).size(), 3u);
}

TEST_F(JsonLinesLogTest, AFailedWriteLeavesNoHalfLine) {
  JsonLinesLog log(path_);
  log.write(1, {});
  const auto size_before = std::filesystem::file_size(path_);
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit tight{size_before + 10, limit.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  EXPECT_THROW(log.write(2, {}), base::Error);
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_EQ(std::filesystem::file_size(path_), size_before);
  log.write(3, {});
  EXPECT_EQ(lines_of(path_).size(), 2u);
}

TEST_F(JsonLinesLogTest, AFolderThatIsMissingIsAStorageError) {
  const base::Error error =
      test::refusal_of(base::ExitCode::storage, [&] { JsonLinesLog log(folder_.path() / "missing" / "log.jsonl"); });
  EXPECT_NE(error.text().what.find("missing/log.jsonl"), std::string::npos);
}

}  // namespace
}  // namespace leda::logging
