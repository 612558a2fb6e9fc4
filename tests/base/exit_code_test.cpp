#include "base/exit_code.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <regex>
#include <sstream>

namespace leda::base {
namespace {

// code: name, of every match of `pattern` with its groups in that order or, `name_first`, the other way round.
std::map<int, std::string> codes_in(const std::string& file, const std::regex& pattern, bool name_first) {
  std::ostringstream text;
  text << std::ifstream(std::string(LEDA_SOURCE_FOLDER) + "/" + file).rdbuf();
  const std::string content = text.str();
  std::map<int, std::string> codes;
  for (std::sregex_iterator match(content.begin(), content.end(), pattern), end; match != end; ++match) {
    codes[std::stoi((*match)[name_first ? 2 : 1])] = (*match)[name_first ? 1 : 2];
  }
  return codes;
}

TEST(ExitCode, ThePageListsTheCodesOfTheHeader) {
  const auto header = codes_in("src/base/exit_code.hpp", std::regex(R"(\n  ([a-z_]+) = (\d+),)"), true);
  const auto page = codes_in("docs/exit_codes.md", std::regex(R"(\n\| (\d+) \| `([a-z_]+)` \|)"), false);
  EXPECT_EQ(header.size(), 9u);
  EXPECT_EQ(header, page);
  EXPECT_EQ(header.at(static_cast<int>(ExitCode::storage)), "storage");
  EXPECT_EQ(header.at(static_cast<int>(ExitCode::saved_run_again)), "saved_run_again");
}

}  // namespace
}  // namespace leda::base
