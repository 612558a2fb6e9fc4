#include "config/option_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <clocale>
#include <fstream>
#include <limits>
#include <locale>
#include <string_view>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::config {
namespace {

using testing::HasSubstr;
using testing::Not;

struct Settings {
  bool flag = false;
  int count = 3;
  std::int64_t steps = 1000;
  std::uint64_t seed = 1;
  double rate = 0.5;
  std::string name = "red";
  std::vector<int> strides{16, 4, 1};
  std::vector<double> thresholds{0.5};
  std::vector<std::string> stages{"first", "second"};
};

class OptionTableTest : public testing::Test {
 protected:
  OptionTableTest() { bind(table, settings); }

  static void bind(OptionTable& table, Settings& settings) {
    table.add("train.flag", "a switch", &settings.flag);
    table.add("train.count", "how many", &settings.count);
    table.add("train.steps", "how long", &settings.steps);
    table.add("train.seed", "where randomness begins", &settings.seed);
    table.add("train.rate", "how fast", &settings.rate);
    table.add("net.name", "what it is called", &settings.name);
    table.add("net.strides", "of the levels", &settings.strides);
    table.add("net.thresholds", "per level", &settings.thresholds);
    table.add("net.stages", "in order", &settings.stages);
  }

  // The whole message.
  template <typename Action>
  static std::string refusal(const Action& action) {
    return test::refusal_message<base::ErrorOnAllRanks>(base::ExitCode::options, action);
  }
  std::string refusal_of_arguments(const std::vector<std::string>& arguments) {
    return refusal([&] { table.parse_arguments(arguments); });
  }
  std::string refusal_of_text(const std::string& text) {
    return refusal([&] { table.parse_text(text, "my.cfg"); });
  }

  Settings settings;
  OptionTable table;
};

TEST_F(OptionTableTest, ReadsEveryTypeInBothSpellings) {
  table.parse_arguments({"--train.count", "7", "--train.steps=5000000000", "--train.seed=18446744073709551615",
                         "--train.rate=1e-3", "--net.name", "blue", "--net.strides=8, 2", "--net.thresholds=0.95,.8",
                         "--net.stages=second"});
  EXPECT_EQ(settings.count, 7);
  EXPECT_EQ(settings.steps, 5000000000);
  EXPECT_EQ(settings.seed, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(settings.rate, 1e-3);
  EXPECT_EQ(settings.name, "blue");
  EXPECT_EQ(settings.strides, (std::vector<int>{8, 2}));
  EXPECT_EQ(settings.thresholds, (std::vector<double>{0.95, 0.8}));
  EXPECT_EQ(settings.stages, (std::vector<std::string>{"second"}));
}

TEST_F(OptionTableTest, ABoolAloneMeansTrueAndTakesAValue) {
  table.parse_arguments({"--train.flag"});
  EXPECT_TRUE(settings.flag);
  table.parse_arguments({"--train.flag=false"});
  EXPECT_FALSE(settings.flag);
  table.parse_arguments({"--train.flag", "true"});
  EXPECT_TRUE(settings.flag);
  table.parse_arguments({"--train.flag", "off"});
  EXPECT_FALSE(settings.flag);
  table.parse_arguments({"--train.flag", "--train.count=9"});
  EXPECT_TRUE(settings.flag);
  EXPECT_EQ(settings.count, 9);
}

enum class Colour { red, dark_blue, automatic };
constexpr std::array<std::string_view, 3> names_of(Colour) { return {"red", "dark_blue", "auto"}; }

TEST(Choices, AreWrittenAsTheirNamesAloneAndInLists) {
  Colour colour = Colour::red;
  std::vector<Colour> colours{Colour::dark_blue, Colour::automatic};
  OptionTable table;
  table.add("net.colour", "what it looks like", &colour);
  table.add("net.colours", "all of them", &colours);
  EXPECT_EQ(table.values()[0].second, "red");
  EXPECT_EQ(table.values()[1].second, "dark_blue,auto");
  table.parse_arguments({"--net.colour= auto", "--net.colours", "red, auto"});
  EXPECT_EQ(colour, Colour::automatic);
  EXPECT_EQ(colours, (std::vector<Colour>{Colour::red, Colour::automatic}));
  table.parse_text("net.colours =\n", "my.cfg");
  EXPECT_TRUE(colours.empty());
  EXPECT_EQ(table.descriptions()[0].choices, (std::vector<std::string>{"red", "dark_blue", "auto"}));
  for (const std::string wrong : {"automatic", "dark_bleu", "Red", "0"}) {
    const std::string message = test::refusal_message<base::ErrorOnAllRanks>(
        base::ExitCode::options, [&] { table.set("net.colour", wrong, "my.cfg"); });
    EXPECT_THAT(message, AllOf(HasSubstr("net.colour (my.cfg)"), HasSubstr("red, dark_blue, auto"), HasSubstr(wrong)));
  }
  EXPECT_EQ(colour, Colour::automatic) << "as it was before what was refused";
}

struct RangeCase {
  Range range;
  std::string text;
  std::vector<std::string> allowed;
  std::vector<std::string> refused;
};

TEST(Ranges, AreCheckedWhereAValueIsReadAndNamedInWords) {
  const std::vector<RangeCase> cases{
      {at_least(0), "0 or more", {"0", "1e300"}, {"-1e-9", "nan", "inf", "-inf"}},
      {above(0), "above 0", {"1e-300"}, {"0", "-1"}},
      {between(0, 1), "from 0 to 1", {"0", "1"}, {"-0.1", "1.1"}},
      {from_to_below(0, 1), "from 0, below 1", {"0", "0.999"}, {"1", "-0.1"}},
      {{.lowest = 0.0, .highest = 1.0, .is_lowest_excluded = true}, "above 0, at most 1", {"1"}, {"0", "1.1"}},
      {multiple_of(16, between(64, 512)), "from 64 to 512, a multiple of 16", {"64", "512"}, {"48", "65", "528"}},
      {Range{}, "", {"-1e300"}, {"inf", "nan"}}};
  for (const RangeCase& its : cases) {
    EXPECT_EQ(its.range.text(), its.text);
    double value = 0.0;
    std::vector<double> values;
    OptionTable table;
    table.add("a.value", "one", &value, {.range = its.range});
    table.add("a.values", "many", &values, {.range = its.range});
    for (const std::string& good : its.allowed) {
      EXPECT_NO_THROW(table.set("a.value", good, "test")) << its.text << ": " << good;
      EXPECT_NO_THROW(table.set("a.values", good + "," + good, "test")) << its.text << ": " << good;
    }
    for (const std::string& bad : its.refused) {
      EXPECT_THROW(table.set("a.value", bad, "test"), base::ErrorOnAllRanks) << its.text << ": " << bad;
      EXPECT_THROW(table.set("a.values", its.allowed.front() + "," + bad, "test"), base::ErrorOnAllRanks) << bad;
    }
  }
}

TEST(Rules, TextsMayBeNamesOrCheckedAndMayChangeOnResume) {
  std::string type = "one", even = "ab";
  OptionTable table;
  table.add("a.type", "of names", &type, {.names = {"one", "two"}});
  table.add("a.even", "checked", &even,
            {.check =
                 [](const std::string& text) {
                   if (text.size() % 2 == 0) return;
                   throw base::Error(base::ExitCode::options,
                                     {.what = "odd", .value = text, .why = "w", .remedy = "r"});
                 },
             .may_change_on_resume = true});
  table.set("a.type", "two", "test");
  EXPECT_EQ(type, "two");
  EXPECT_THROW(table.set("a.type", "three", "test"), base::ErrorOnAllRanks);
  table.set("a.even", "abcd", "test");
  EXPECT_THAT(test::refusal_message<base::ErrorOnAllRanks>(base::ExitCode::options,
                                                           [&] { table.set("a.even", "abc", "my.cfg"); }),
              AllOf(HasSubstr("a.even (my.cfg)"), HasSubstr("abc"), HasSubstr("w"), HasSubstr("r")));
  EXPECT_EQ(even, "abcd");
  EXPECT_FALSE(table.descriptions()[0].may_change_on_resume);
  EXPECT_TRUE(table.descriptions()[1].may_change_on_resume);
}

TEST_F(OptionTableTest, EmptyListAndEmptyTextAreValues) {
  table.parse_text("net.strides =\nnet.name =\n", "my.cfg");
  EXPECT_TRUE(settings.strides.empty());
  EXPECT_EQ(settings.name, "");
}

TEST_F(OptionTableTest, AnUnknownNameIsRefusedWithTheNearestOne) {
  EXPECT_THAT(refusal_of_arguments({"--train.cuont=7"}), AllOf(HasSubstr("train.cuont"), HasSubstr("train.count")));
  EXPECT_THAT(refusal_of_arguments({"--train.cuont=7"}), Not(HasSubstr("cuont=")));
  EXPECT_THAT(refusal_of_arguments({"--stages=first"}), HasSubstr("net.stages"));
  EXPECT_THAT(refusal_of_arguments({"--train.name=first"}), HasSubstr("net.name"));
  EXPECT_THAT(refusal_of_arguments({"--train.cuont", "7"}), HasSubstr("train.count"));
  EXPECT_THAT(refusal_of_arguments({"surplus"}), HasSubstr("surplus"));
  EXPECT_THAT(refusal_of_arguments({"-x"}), HasSubstr("x"));
}

TEST_F(OptionTableTest, AnUnknownNameInAFileIsRefusedWithTheFile) {
  EXPECT_THAT(refusal_of_text("train.cuont = 7\n"),
              AllOf(HasSubstr("my.cfg"), HasSubstr("train.cuont"), HasSubstr("train.count")));
  EXPECT_THAT(refusal_of_text("[train]\ncuont = 7\n"), HasSubstr("train.cuont"));
}

TEST_F(OptionTableTest, NamesAreNotAbbreviated) {
  EXPECT_THAT(refusal_of_arguments({"--train.cou=7"}), HasSubstr("train.cou"));
  EXPECT_EQ(settings.count, 3);
}

TEST_F(OptionTableTest, ANameGivenTwiceIsRefusedInArgumentsAndInAFile) {
  EXPECT_THAT(refusal_of_arguments({"--train.count=7", "--train.count=8"}), HasSubstr("train.count"));
  EXPECT_THAT(refusal_of_text("train.count = 7\ntrain.count = 7\n"),
              AllOf(HasSubstr("train.count"), HasSubstr("my.cfg")));
}

TEST_F(OptionTableTest, ALaterSourceOverridesAnEarlierOne) {
  table.parse_text("train.count = 7\ntrain.steps = 8\n", "my.cfg");
  table.parse_arguments({"--train.count=9"});
  EXPECT_EQ(settings.count, 9);
  EXPECT_EQ(settings.steps, 8);
  EXPECT_EQ(settings.seed, 1u);
}

TEST_F(OptionTableTest, NumbersAreReadStrictly) {
  for (const char* text : {"7x", "x7", "", "7.0", "1e3", "0x10", "+7", "7 8", "99999999999", "seven", "7,"}) {
    EXPECT_THAT(refusal([&] { table.set("train.count", text, "test"); }),
                AllOf(HasSubstr("train.count"), HasSubstr(std::string("'") + text + "'"), HasSubstr("3")))
        << text;
  }
  for (const char* text : {"-1", "18446744073709551616", "1.5"}) {
    EXPECT_THAT(refusal([&] { table.set("train.seed", text, "test"); }), HasSubstr("train.seed")) << text;
  }
  for (const char* text : {"0,5", "1.5f", "", ".", "1e", "0.5.5", "1e999"}) {
    EXPECT_THAT(refusal([&] { table.set("train.rate", text, "test"); }), HasSubstr("train.rate")) << text;
  }
  for (const char* text : {"1,,2", "1,x", "1;2", "1.5"}) {
    EXPECT_THAT(refusal([&] { table.set("net.strides", text, "test"); }), HasSubstr("net.strides")) << text;
  }
  for (const char* text : {"maybe", "2", "", "TRUE"}) {
    EXPECT_THAT(refusal([&] { table.set("train.flag", text, "test"); }), HasSubstr("train.flag")) << text;
  }
  EXPECT_EQ(settings.count, 3);
  EXPECT_EQ(settings.rate, 0.5);
  EXPECT_EQ(settings.strides, (std::vector<int>{16, 4, 1}));
}

TEST_F(OptionTableTest, FilesHaveCommentsSectionsAndBlankLines) {
  table.parse_text("# first\n\n  train.count = 7   # seven\nnet.name=  dark blue\n\n[train]\nsteps = 12\nrate=0.25\r\n",
                   "my.cfg");
  EXPECT_EQ(settings.count, 7);
  EXPECT_EQ(settings.name, "dark blue");
  EXPECT_EQ(settings.steps, 12);
  EXPECT_EQ(settings.rate, 0.25);
}

TEST_F(OptionTableTest, ALineWithoutAnEqualsSignIsRefusedWithTheFile) {
  EXPECT_THAT(refusal_of_text("train.count 7\n"), AllOf(HasSubstr("my.cfg"), HasSubstr("train.count 7")));
}

TEST_F(OptionTableTest, AMissingValueIsRefused) {
  EXPECT_THAT(refusal_of_arguments({"--train.count"}), HasSubstr("train.count"));
  EXPECT_THAT(refusal_of_arguments({"--train.count", "--train.flag"}), HasSubstr("train.count"));
}

TEST_F(OptionTableTest, AFileThatIsNotThereIsRefusedByName) {
  const test::TemporaryFolder folder;
  const std::string path = (folder.path() / "none.cfg").string();
  EXPECT_THAT(refusal([&] { table.parse_file(path); }), HasSubstr(path));
}

TEST_F(OptionTableTest, ReadsAFile) {
  const test::TemporaryFolder folder;
  std::ofstream(folder.path() / "my.cfg") << "train.count = 11\n";
  table.parse_file((folder.path() / "my.cfg").string());
  EXPECT_EQ(settings.count, 11);
}

TEST_F(OptionTableTest, ADumpIsReadBackToTheSameValues) {
  settings = {true, -7, -5000000000, 12345678901234567890u, 1.0 / 3.0, "", {}, {0.1, 1e-300}, {"only"}};
  const std::string text = table.dump();
  Settings other;
  OptionTable reader;
  bind(reader, other);
  reader.parse_text(text, "the dump");
  EXPECT_EQ(reader.values(), table.values());
  EXPECT_TRUE(other.flag);
  EXPECT_EQ(other.count, -7);
  EXPECT_EQ(other.steps, -5000000000);
  EXPECT_EQ(other.seed, 12345678901234567890u);
  EXPECT_EQ(other.rate, 1.0 / 3.0);
  EXPECT_EQ(other.name, "");
  EXPECT_TRUE(other.strides.empty());
  EXPECT_EQ(other.thresholds, (std::vector<double>{0.1, 1e-300}));
  EXPECT_EQ(other.stages, (std::vector<std::string>{"only"}));
}

class CommaNumbers : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
  char do_thousands_sep() const override { return '.'; }
  std::string do_grouping() const override { return "\3"; }
};

TEST_F(OptionTableTest, ALocaleWithDecimalCommasChangesNothing) {
  const std::string before = table.dump();
  const std::locale classic = std::locale::global(std::locale(std::locale::classic(), new CommaNumbers));
  table.parse_text("train.rate = 1.5\ntrain.steps = 1234567\nnet.thresholds = 0.25,0.5\n", "my.cfg");
  const auto values = table.values();
  const std::string refused = refusal([&] { table.set("train.rate", "1,5", "test"); });
  const std::string dump = table.dump();
  std::locale::global(classic);
  EXPECT_EQ(settings.rate, 1.5);
  EXPECT_EQ(settings.steps, 1234567);
  EXPECT_EQ(settings.thresholds, (std::vector<double>{0.25, 0.5}));
  EXPECT_THAT(dump, AllOf(HasSubstr("train.rate = 1.5\n"), HasSubstr("train.steps = 1234567\n")));
  EXPECT_THAT(refused, HasSubstr("1,5"));
  EXPECT_THAT(before, HasSubstr("train.rate = 0.5\n"));
}

TEST(NearestName, PrefersFewEditsAndForgivesTheSection) {
  const std::vector<std::string> known{"run.seed", "data.folder", "run.folder", "training.global_batch"};
  EXPECT_EQ(nearest_name("run.sede", known), "run.seed");
  EXPECT_EQ(nearest_name("run.foldr", known), "run.folder");
  EXPECT_EQ(nearest_name("data.foldr", known), "data.folder");
  EXPECT_EQ(nearest_name("global_batch", known), "training.global_batch");
  EXPECT_EQ(nearest_name("data.global_batch", known), "training.global_batch");
}

}  // namespace
}  // namespace leda::config
