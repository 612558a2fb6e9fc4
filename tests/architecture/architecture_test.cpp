// The sources keep to the table of docs/architecture.md, and the check itself sees what breaks it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/architecture/include_rules.hpp"

namespace leda::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const std::filesystem::path kRoot = LEDA_SOURCE_FOLDER;

std::string read_text(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) throw std::runtime_error("cannot read " + path.string());
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

std::vector<SourceFile> read_sources() {
  std::vector<SourceFile> files;
  for (const char* top : {"src", "tests"}) {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(kRoot / top)) {
      const auto extension = entry.path().extension();
      if (extension != ".cpp" && extension != ".hpp" && extension != ".cu") continue;
      files.push_back({entry.path().lexically_relative(kRoot).generic_string(), read_text(entry.path())});
    }
  }
  return files;
}

std::vector<Room> documented_rooms() { return read_room_table(read_text(kRoot / "docs" / "architecture.md")); }

std::string all_lines(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

TEST(Architecture, SourcesIncludeOnlyWhatTheTableAllows) {
  const auto files = read_sources();
  ASSERT_GT(files.size(), 20u);
  const auto broken = broken_include_rules(documented_rooms(), files);
  EXPECT_TRUE(broken.empty()) << all_lines(broken);
}

TEST(Architecture, LibrariesLinkOnlyWhatTheTableAllows) {
  const auto broken = broken_link_rules(documented_rooms(), read_text(kRoot / "src" / "CMakeLists.txt"));
  EXPECT_TRUE(broken.empty()) << all_lines(broken);
}

TEST(Architecture, HeadersAreIncludedOnce) {
  for (const SourceFile& file : read_sources()) {
    if (file.path.ends_with(".hpp")) {
      EXPECT_THAT(file.text, HasSubstr("#pragma once")) << file.path;
    }
  }
}

// --- the check itself, on a made-up house ---------------------------------------------------------------------------

const char* const kTable =
    "text before\n"
    "| folder | purpose | may include | third-party headers |\n"
    "|---|---|---|---|\n"
    "| `base/` | ground | – | – |\n"
    "| `storage/` | files | base | `hdf5.h` |\n"
    "| `config/` | options | all above | `boost/program_options` |\n"
    "\n"
    "| other | table |\n";

std::vector<std::string> broken_by(const std::string& path, const std::string& text) {
  return broken_include_rules(read_room_table(kTable), {{path, text},
                                                        {"src/base/error.hpp", ""},
                                                        {"src/storage/shard.hpp", ""},
                                                        {"src/config/options.hpp", ""},
                                                        {"tests/support/folder.hpp", ""}});
}

TEST(IncludeRules, TableIsReadRowByRow) {
  const auto rooms = read_room_table(kTable);
  ASSERT_EQ(rooms.size(), 3u);
  EXPECT_EQ(rooms[0].name, "base");
  EXPECT_THAT(rooms[0].lower_rooms, IsEmpty());
  EXPECT_THAT(rooms[0].library_headers, IsEmpty());
  EXPECT_THAT(rooms[1].lower_rooms, ElementsAre("base"));
  EXPECT_THAT(rooms[1].library_headers, ElementsAre("hdf5.h"));
  EXPECT_THAT(rooms[2].lower_rooms, ElementsAre("base", "storage"));
}

TEST(IncludeRules, TableThatIsNoOrderIsRefused) {
  EXPECT_THROW(read_room_table("no table"), std::runtime_error);
  EXPECT_THROW(read_room_table("| folder | p | may include | h |\n|---|---|---|---|\n| `a/` | x | b | – |\n"
                               "| `b/` | x | a | – |\n"),
               std::runtime_error);
}

TEST(IncludeRules, AllowedIncludesPass) {
  EXPECT_THAT(broken_by("src/storage/a.cpp",
                        "// a comment\n#include \"storage/shard.hpp\"\n#include \"base/error.hpp\"\n#include <hdf5.h>\n"
                        "  #  include <fcntl.h>\n#include <vector>\n#include <fmt/format.h>\n"
                        "#include <nlohmann/json.hpp>\n#include <ATen/core/Tensor.h>\n"),
              IsEmpty());
  EXPECT_THAT(broken_by("src/config/a.cpp", "#include <boost/program_options/parsers.hpp>\n"), IsEmpty());
  EXPECT_THAT(broken_by("tests/storage/a_test.cpp",
                        "#include <gtest/gtest.h>\n#include <hdf5.h>\n#include \"config/options.hpp\"\n"
                        "#include \"tests/support/folder.hpp\"\n"),
              IsEmpty());
  EXPECT_THAT(broken_by("src/base/a.cpp", "// #include <hdf5.h>\n"), IsEmpty());
}

struct Violation {
  const char* path;
  const char* include;
  const char* reason;
};

class RefusedInclude : public testing::TestWithParam<Violation> {};

TEST_P(RefusedInclude, IsNamedWithFileLineAndReason) {
  const Violation& violation = GetParam();
  const auto broken = broken_by(violation.path, std::string("\n#include ") + violation.include + "\n");
  ASSERT_EQ(broken.size(), 1u) << all_lines(broken);
  EXPECT_THAT(broken.front(), HasSubstr(std::string(violation.path) + ":2: "));
  EXPECT_THAT(broken.front(), HasSubstr(violation.reason));
}

INSTANTIATE_TEST_SUITE_P(
    MadeUpSources, RefusedInclude,
    testing::Values(Violation{"src/base/a.cpp", "\"storage/shard.hpp\"", "base/ may not include storage/"},
                    Violation{"src/storage/a.hpp", "\"config/options.hpp\"", "storage/ may not include config/"},
                    Violation{"src/storage/a.cpp", "\"storage/gone.hpp\"", "no such file"},
                    Violation{"src/storage/a.cpp", "\"shard.hpp\"", "from the include root"},
                    Violation{"src/storage/a.cpp", "\"../base/error.hpp\"", "from the include root"},
                    Violation{"src/storage/a.cpp", "\"tests/support/folder.hpp\"", "do not include tests"},
                    Violation{"src/config/a.cpp", "<hdf5.h>", "only storage/ may include it"},
                    Violation{"tests/config/a_test.cpp", "<hdf5.h>", "only storage/ may include it"},
                    Violation{"src/storage/a.hpp", "<nlohmann/json.hpp>", ".cpp files"},
                    Violation{"src/base/a.hpp", "<ATen/core/Tensor.h>", "without LibTorch"},
                    Violation{"src/storage/a.cpp", "<torch/torch.h>", "too wide"},
                    Violation{"tests/storage/a_test.cpp", "<torch/nn/modules/conv.h>", "too wide"},
                    Violation{"src/storage/a.cpp", "<gtest/gtest.h>", "no room has been given"},
                    Violation{"src/storage/a.cpp", "<spdlog/spdlog.h>", "no room has been given"}));

TEST(IncludeRules, SourcesOutsideEveryRoomAreRefused) {
  EXPECT_THAT(broken_by("src/attic/a.cpp", ""), ElementsAre(HasSubstr("lies in no room")));
}

// --- sub-rooms ------------------------------------------------------------------------------------------------------

const char* const kTableWithSubRooms =
    "| folder | purpose | may include | third-party headers |\n"
    "|---|---|---|---|\n"
    "| `base/` | ground | – | – |\n"
    "| `data/` | files to batches | base | – |\n"
    "| `data/shards/` | files | its room's | `libdeflate.h` |\n"
    "| `data/loading/` | batches | its room's | – |\n"
    "| `training/` | the loop | base, data | – |\n";

std::vector<std::string> broken_in_sub_rooms(const std::string& path, const std::string& include) {
  return broken_include_rules(read_room_table(kTableWithSubRooms), {{path, "#include " + include + "\n"},
                                                                    {"src/base/error.hpp", ""},
                                                                    {"src/data/shards/reader.hpp", ""},
                                                                    {"src/data/loading/loader.hpp", ""},
                                                                    {"src/training/loop.hpp", ""}});
}

TEST(IncludeRules, SubRoomsSeeWhatTheirRoomSeesAndThoseBeforeThem) {
  for (const char* header : {"\"base/error.hpp\"", "\"data/shards/reader.hpp\"", "\"data/loading/loader.hpp\""}) {
    EXPECT_THAT(broken_in_sub_rooms("src/data/loading/a.cpp", header), IsEmpty()) << header;
    EXPECT_THAT(broken_in_sub_rooms("src/training/a.cpp", header), IsEmpty()) << header;
  }
  EXPECT_THAT(broken_in_sub_rooms("src/data/shards/a.cpp", "<libdeflate.h>"), IsEmpty());
  EXPECT_THAT(broken_in_sub_rooms("tests/data/a_test.cpp", "<libdeflate.h>"), IsEmpty());
}

TEST(IncludeRules, APlantedBackEdgeBetweenSubRoomsIsRefused) {
  EXPECT_THAT(broken_in_sub_rooms("src/data/shards/a.cpp", "\"data/loading/loader.hpp\""),
              ElementsAre(HasSubstr("data/shards/ may not include data/loading/")));
  EXPECT_THAT(broken_in_sub_rooms("src/data/shards/a.cpp", "\"training/loop.hpp\""),
              ElementsAre(HasSubstr("data/shards/ may not include training/")));
  EXPECT_THAT(broken_in_sub_rooms("src/data/loading/a.cpp", "<libdeflate.h>"),
              ElementsAre(HasSubstr("only data/shards/ may include it")));
  EXPECT_THAT(broken_in_sub_rooms("src/training/a.cpp", "<libdeflate.h>"), ElementsAre(HasSubstr("only data/shards/")));
}

TEST(IncludeRules, ARoomWithSubRoomsHasNoFilesOfItsOwn) {
  EXPECT_THAT(broken_in_sub_rooms("src/data/a.cpp", "<vector>"), ElementsAre(HasSubstr("lies in no room")));
  EXPECT_THROW(read_room_table("| folder | p | may include | h |\n|---|---|---|---|\n| `a/b/` | x | – | – |\n"),
               std::runtime_error);
}

TEST(IncludeRules, LinkingUpwardsIsRefused) {
  const auto rooms = read_room_table(kTable);
  EXPECT_THAT(broken_link_rules(rooms,
                                "add_layer(base LIBRARIES Threads)\nadd_layer(storage DEPENDS base LIBRARIES x)\n"
                                "add_layer(config DEPENDS base\n  storage LIBRARIES boost)\n"),
              IsEmpty());
  EXPECT_THAT(broken_link_rules(rooms, "add_layer(base DEPENDS storage)\nadd_layer(storage DEPENDS base)\n"),
              ElementsAre(HasSubstr("base links storage"), HasSubstr("config has no add_layer")));
}

}  // namespace
}  // namespace leda::test
