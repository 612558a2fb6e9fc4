#include "config/program_pages.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "config/bash_completion.hpp"
#include "config/help_text.hpp"
#include "config/man_page.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::config {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(ProgramPages, HaveEveryProgramAndEveryCommandOnce) {
  std::vector<std::string> names;
  for (const ProgramPages& pages : all_program_pages()) {
    names.push_back(pages.program.name);
    EXPECT_FALSE(pages.program.summary.empty()) << names.back();
    EXPECT_FALSE(pages.program.examples.empty()) << names.back();
    for (const ProgramAction& command : pages.program.commands) {
      const std::string its_name = pages.program.name + " " + command.name;
      const auto all = all_program_pages();
      EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const auto& its) { return its.program.name == its_name; }))
          << its_name;
    }
  }
  EXPECT_THAT(names, testing::IsSupersetOf({"leda_dist_train", "leda_evaluate", "leda_explain", "leda_data"}));
  std::sort(names.begin(), names.end());
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
}

// As a program's own table: the pages hold descriptions alone, and help reads a table.
OptionTable table_like(const ProgramPages& pages, std::vector<std::string>& values) {
  OptionTable table;
  for (const SectionDescription& section : pages.sections) table.section(section.name, section.description);
  values.assign(pages.options.size(), "");
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = pages.options[i].text;
    table.add(pages.options[i].key, pages.options[i].description, &values[i]);
  }
  return table;
}

TEST(HelpText, FitsOneScreenForEveryProgramAndNamesItsSectionsOrOptions) {
  for (const ProgramPages& pages : all_program_pages()) {
    std::vector<std::string> values;
    const OptionTable table = table_like(pages, values);
    const std::string screen = help_text(pages.program, table, "");
    EXPECT_LE(std::count(screen.begin(), screen.end(), '\n'), 24) << screen;
    std::istringstream lines(screen);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100) << line;
    for (const SectionDescription& section : pages.sections) EXPECT_THAT(screen, HasSubstr(section.name));
    for (const ProgramAction& action : pages.program.actions) EXPECT_THAT(screen, HasSubstr(action.name));
    for (const ProgramAction& command : pages.program.commands) EXPECT_THAT(screen, HasSubstr(command.description));
  }
}

TEST(HelpText, OfASectionHasItsOptionsAndOfAllEveryOption) {
  const ProgramPages train = all_program_pages().front();
  std::vector<std::string> values;
  const OptionTable table = table_like(train, values);
  const std::string all = help_text(train.program, table, "all");
  for (const SectionDescription& section : train.sections) {
    const std::string text = help_text(train.program, table, section.name);
    EXPECT_THAT(all, HasSubstr(text));
    for (const OptionDescription& option : train.options) {
      const bool is_there = text.find("  --" + option.key + "\n") != std::string::npos;
      EXPECT_EQ(is_there, option.section() == section.name) << section.name << " and " << option.key;
    }
  }
}

TEST(HelpText, WrapsBetweenWordsAndLosesNone) {
  EXPECT_EQ(wrapped("one two three", 7, 2), "one two\n  three");
  EXPECT_EQ(wrapped("  a   bb", 100, 0), "  a   bb");
  EXPECT_EQ(wrapped("immeasurable a", 5, 1), "immeasurable\n a");
  EXPECT_EQ(wrapped("", 5, 1), "");
}

// groff is an independent reader: with -ww it warns of every request it does not know.
TEST(ManPage, OfEveryProgramIsReadByGroffWithoutAWarning) {
  const test::TemporaryFolder folder;
  for (const ProgramPages& pages : all_program_pages()) {
    const std::string file = (folder.path() / man_page_file_name(pages.program)).string();
    std::ofstream(file) << man_page(pages);
    const auto warned = test::run_command("groff -man -Tascii -ww '" + file + "' 2>&1 >/dev/null");
    EXPECT_EQ(warned.exit_code, 0) << warned.output;
    EXPECT_THAT(warned.output, IsEmpty()) << file;
    const std::string text = test::run_command("groff -man -Tascii -P-cbou -rLL=500n '" + file + "'").output;
    for (const OptionDescription& option : pages.options) EXPECT_THAT(text, HasSubstr("--" + option.key + " VALUE"));
    EXPECT_THAT(text, HasSubstr(pages.program.summary));
    EXPECT_THAT(text, HasSubstr("EXIT STATUS"));
    for (const ProgramExample& example : pages.program.examples) {
      std::istringstream lines(example.command);
      for (std::string line; std::getline(lines, line);) EXPECT_THAT(text, HasSubstr(line));
    }
  }
}

class BashCompletion : public testing::Test {
 protected:
  BashCompletion() { std::ofstream(script_) << bash_completion(all_program_pages()); }

  // What bash offers after these words, the last of which is being typed; bash itself has split them at `=`.
  std::string offered(const std::string& words) const {
    std::ofstream(driver_) << "cd '" << folder_.path().string() << "'; . ./leda.bash; COMP_WORDS=(" << words
                           << "); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _leda_complete; echo \"${COMPREPLY[*]}\"\n";
    const auto result = test::run_command("bash --norc --noprofile '" + driver_ + "'");
    EXPECT_EQ(result.exit_code, 0) << result.output;
    return result.output;
  }

  const test::TemporaryFolder folder_;
  const std::string script_ = (folder_.path() / "leda.bash").string();
  const std::string driver_ = (folder_.path() / "driver.bash").string();
};

TEST_F(BashCompletion, OffersOptionsChoicesSectionsCommandsAndFiles) {
  std::ofstream(folder_.path() / "my.cfg") << "";
  EXPECT_EQ(offered("leda_dist_train --words.so"), "--words.source\n");
  EXPECT_EQ(offered("leda_dist_train --words.source ''"), "tissue scores\n");
  EXPECT_EQ(offered("leda_dist_train --words.source = sc"), "scores\n");
  EXPECT_EQ(offered("leda_dist_train --words.source ="), "tissue scores\n");
  EXPECT_EQ(offered("leda_dist_train --logging.trace f"), "false\n");
  EXPECT_EQ(offered("leda_dist_train --dry"), "--dry-run\n");
  EXPECT_EQ(offered("leda_dist_train --help che"), "checkpoint\n");
  EXPECT_EQ(offered("leda_dist_train --config my"), "my.cfg\n");
  EXPECT_EQ(offered("leda_evaluate --evaluation.autoencoder my"), "my.cfg\n");
  EXPECT_EQ(offered("leda_data sp"), "split\n");
  EXPECT_EQ(offered("leda_data split --data.ga"), "--data.gap\n");
  EXPECT_EQ(offered("leda_data info --data.ga"), "\n");
  EXPECT_EQ(offered("mpirun -np 2 build/bin/leda_explain --explain.lev"), "--explain.levels\n");
  EXPECT_EQ(offered("ls --words.so"), "\n");
}

}  // namespace
}  // namespace leda::config
