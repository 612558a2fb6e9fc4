#include "config/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::config {
namespace {

class CommandLineTest : public testing::Test {
 protected:
  CommandLineTest() {
    table.section("run", "what is done");
    table.add("run.count", "how many", &count);
    table.add("run.name", "what it is called", &name);
    std::ofstream(file) << "run.count = 20\n";
  }

  CommandLine parse(const std::vector<std::string>& arguments) {
    return parse_command_line(arguments, program, "run.count = 10\nrun.name = embedded\n", table);
  }

  std::string refusal(const std::vector<std::string>& arguments) {
    return test::refusal_message<base::ErrorOnAllRanks>(base::ExitCode::options, [&] { parse(arguments); });
  }

  const ProgramDescription program{.name = "leda_test",
                                   .summary = "tests",
                                   .description = "All of it.",
                                   .actions = {{"--dry-run", "nothing is done"}, {"--new-run", "another"}}};
  int count = 1;
  std::string name = "default";
  OptionTable table;
  const test::TemporaryFolder folder;
  const std::string file = (folder.path() / "my.cfg").string();
};

TEST_F(CommandLineTest, WithoutAFileTheEmbeddedTextIsRead) {
  const CommandLine line = parse({});
  EXPECT_EQ(count, 10);
  EXPECT_EQ(name, "embedded");
  EXPECT_EQ(line.config_file, "");
  EXPECT_FALSE(line.help || line.wants_version || line.wants_dump);
  EXPECT_FALSE(answer_to(line, program, table));
  EXPECT_TRUE(line.actions.empty());
}

TEST_F(CommandLineTest, AFileReplacesTheEmbeddedTextInBothSpellings) {
  EXPECT_EQ(parse({"--config", file}).config_file, file);
  EXPECT_EQ(count, 20);
  EXPECT_EQ(name, "default");
  count = 1;
  EXPECT_EQ(parse({"--config=" + file}).config_file, file);
  EXPECT_EQ(count, 20);
}

TEST_F(CommandLineTest, OptionsWinOverTheFileWhereverTheyStand) {
  parse({"--run.count=30", "--config", file});
  EXPECT_EQ(count, 30);
  parse({"--run.count", "40"});
  EXPECT_EQ(count, 40);
  EXPECT_EQ(name, "embedded");
}

TEST_F(CommandLineTest, ActionsAreKeptApartFromOptions) {
  const CommandLine line = parse({"--dry-run", "--run.count=5", "--help", "--version", "--dump-config", "--quiet"});
  EXPECT_TRUE(line.has("--dry-run"));
  EXPECT_FALSE(line.has("--new-run"));
  EXPECT_TRUE(line.help && line.wants_version && line.wants_dump);
  EXPECT_EQ(count, 5);
  EXPECT_TRUE(parse({"-h"}).help);
}

TEST_F(CommandLineTest, ConfigWithoutAFileOrTwiceIsRefused) {
  EXPECT_THAT(refusal({"--config"}), testing::HasSubstr("needs a file"));
  EXPECT_THAT(refusal({"--config="}), testing::HasSubstr("needs a file"));
  EXPECT_THAT(refusal({"--config", "--dry-run"}), testing::HasSubstr("needs a file"));
  EXPECT_THAT(refusal({"--config", file, "--config=" + file}), testing::HasSubstr("twice"));
}

TEST_F(CommandLineTest, HelpTakesASectionInBothSpellingsAndAnswersForItAlone) {
  EXPECT_EQ(parse({"--help"}).help, "");
  EXPECT_EQ(parse({"--help", "--dry-run"}).help, "");
  EXPECT_EQ(parse({"--help", "run"}).help, "run");
  EXPECT_EQ(parse({"--help=run"}).help, "run");
  const auto answer = answer_to(parse({"--help", "run", "--run.count=7"}), program, table);
  ASSERT_TRUE(answer);
  EXPECT_THAT(*answer, AllOf(testing::HasSubstr("--run.count"), testing::HasSubstr("Now 7, default 1")));
  EXPECT_THAT(*answer_to(parse({"--help"}), program, table), testing::HasSubstr("--dry-run"));
  EXPECT_THAT(test::refusal_message<base::ErrorOnAllRanks>(base::ExitCode::options,
                                                           [&] {
                                                             answer_to(parse({"--help", "rnu"}), program, table);
                                                           }),
              AllOf(testing::HasSubstr("rnu"), testing::HasSubstr("did you mean run?")));
}

TEST_F(CommandLineTest, VersionAndDumpAnswerInsteadOfWork) {
  EXPECT_THAT(*answer_to(parse({"--version"}), program, table), testing::MatchesRegex("leda_test [0-9.]+"));
  EXPECT_THAT(*answer_to(parse({"--dump-config", "--run.count=7"}), program, table),
              testing::HasSubstr("run.count = 7\n"));
}

TEST_F(CommandLineTest, AnActionOfAnotherProgramIsAnUnknownOption) {
  EXPECT_THAT(refusal({"--report"}), testing::HasSubstr("report"));
}

}  // namespace
}  // namespace leda::config
