#include "config/configuration_page.hpp"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "config/job_option_table.hpp"
#include "config/option_table.hpp"
#include "storage/durable_file.hpp"

namespace leda::config {
namespace {

const std::filesystem::path kPage = std::filesystem::path(LEDA_SOURCE_FOLDER) / "docs" / "configuration.md";

TEST(ConfigurationPage, InDocsIsUpToDate) {
  const std::string fresh = configuration_page();
  const std::string page = std::filesystem::exists(kPage) ? storage::read_text_file(kPage) : "";
  if (page == fresh) return;
  const std::filesystem::path copy = std::filesystem::path(LEDA_BINARY_FOLDER) / "configuration.md";
  std::ofstream(copy, std::ios::binary) << fresh;
  FAIL() << "docs/configuration.md is stale. The fresh page is there; copy it: cp build/configuration.md docs/";
}

TEST(ConfigurationPage, HasEveryOptionOnceAndTheEmbeddedJobsValues) {
  training::JobOptions job;
  OptionTable table;
  bind_job_options(table, job);
  const std::string page = configuration_page();
  for (const auto& [key, value] : table.values()) {
    const std::string row = "\n| `" + key + "` |";
    const std::size_t first = page.find(row);
    ASSERT_NE(first, std::string::npos) << key;
    EXPECT_EQ(page.substr(0, page.find("## Options of the other programs")).find(row, first + 1), std::string::npos)
        << key;
  }
  EXPECT_NE(page.find("### leda_data split\n"), std::string::npos);
  EXPECT_NE(page.find("| `explain.levels` | whole numbers with commas, 1 or more | (empty) |"), std::string::npos);
  EXPECT_NE(page.find("| `data.source` | one of: shards, phantoms | `shards` | `phantoms` |"), std::string::npos);
  EXPECT_NE(page.find("| `run.seed` | a whole number, 0 or more | `1` |  |  | of first weights"), std::string::npos);
  EXPECT_NE(page.find("| `logging.every_num_steps` | a whole number, 1 or more | `50` |  | resume |"),
            std::string::npos);
}

}  // namespace
}  // namespace leda::config
