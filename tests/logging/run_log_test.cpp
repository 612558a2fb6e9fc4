#include "logging/run_log.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.hpp"

namespace leda::logging {
namespace {

class RunLogTest : public testing::Test {
 protected:
  ~RunLogTest() override { std::fclose(said_); }

  std::string said() {
    std::rewind(said_);
    std::string text;
    for (int character = 0; (character = std::fgetc(said_)) != EOF;) text += static_cast<char>(character);
    return text;
  }

  test::TemporaryFolder folder_;
  std::FILE* said_ = std::tmpfile();
  const std::vector<Scalar> scalars_{{"loss", 0.5}};
};

TEST_F(RunLogTest, RankZeroWritesBothLogs) {
  Console console(0, said_, said_);
  RunLog log(console, folder_.path() / "run");
  log.write(1, scalars_, "start");
  EXPECT_GT(std::filesystem::file_size(folder_.path() / "run/log.jsonl"), 0u);
  EXPECT_FALSE(std::filesystem::is_empty(folder_.path() / "run/tensorboard"));
  EXPECT_EQ(said(), "");
}

TEST_F(RunLogTest, TensorBoardCanBeLeftOut) {
  Console console(0, said_, said_);
  RunLog log(console, folder_.path(), false);
  log.write(1, scalars_);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "tensorboard"));
}

TEST_F(RunLogTest, OtherRanksTouchNothing) {
  Console console(1, said_, said_);
  RunLog log(console, folder_.path() / "run");
  log.write(1, scalars_);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "run"));
}

TEST_F(RunLogTest, AFolderThatCannotBeWrittenIsOneWarning) {
  Console console(0, said_, said_);
  std::ofstream(folder_.path() / "file") << "in the way";
  RunLog log(console, folder_.path() / "file" / "run");
  for (int step = 0; step < 3; ++step) log.write(step, scalars_);
  const std::string text = said();
  EXPECT_THAT(text, testing::StartsWith("warning: the run goes on without complete logs: the log file "));
  EXPECT_EQ(text.find("warning", 1), std::string::npos);
}

}  // namespace
}  // namespace leda::logging
