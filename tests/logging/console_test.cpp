#include "logging/console.hpp"

#include <gtest/gtest.h>

#include <cstdio>
#include <string>

namespace leda::logging {
namespace {

std::string contents(std::FILE* file) {
  std::rewind(file);
  std::string text;
  for (int character = 0; (character = std::fgetc(file)) != EOF;) text += static_cast<char>(character);
  return text;
}

struct Streams {
  std::FILE* output = std::tmpfile();
  std::FILE* errors = std::tmpfile();
  ~Streams() {
    std::fclose(output);
    std::fclose(errors);
  }
};

TEST(Console, RankZeroSpeaksAndWarns) {
  Streams streams;
  Console console(0, streams.output, streams.errors);
  EXPECT_TRUE(console.is_root());
  EXPECT_FALSE(console.is_terminal());
  console.info("hello");
  console.warning("disk nearly full");
  console.error_on_rank("no data");
  EXPECT_EQ(contents(streams.output), "hello\n");
  EXPECT_EQ(contents(streams.errors), "warning: disk nearly full\nrank 0: no data\n");
}

TEST(Console, QuietItPrintsResultsWarningsAndErrorsAlone) {
  Streams streams;
  Console console(0, streams.output, streams.errors, Verbosity::quiet);
  console.info("step 10 of 20");
  console.redraw("bar");
  console.keep_redrawn_line();
  console.print("the table");
  console.warning("disk nearly full");
  console.error_on_rank("no data");
  EXPECT_EQ(contents(streams.output), "the table\n");
  EXPECT_EQ(contents(streams.errors), "warning: disk nearly full\nrank 0: no data\n");
}

TEST(Console, OtherRanksOnlyComplain) {
  Streams streams;
  Console console(3, streams.output, streams.errors);
  EXPECT_FALSE(console.is_root());
  console.info("hello");
  console.print("the table");
  console.warning("disk nearly full");
  console.redraw("bar");
  console.keep_redrawn_line();
  console.error_on_rank("no data");
  EXPECT_EQ(contents(streams.output), "");
  EXPECT_EQ(contents(streams.errors), "rank 3: no data\n");
}

TEST(Console, ALineTakesTheRedrawnLinesPlace) {
  Streams streams;
  Console console(0, streams.output, streams.errors);
  console.redraw("10 %");
  console.info("saved");
  console.redraw("20 %");
  console.keep_redrawn_line();
  EXPECT_EQ(contents(streams.output), "\r\033[K10 %\r\033[Ksaved\n\r\033[K20 %\n");
}

}  // namespace
}  // namespace leda::logging
