#include "logging/tensorboard_log.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::logging {
namespace {

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) text += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return text;
}

TEST(TensorBoardFormat, ChecksumIsCastagnolis) {
  EXPECT_EQ(crc32c("123456789"), 0xe3069283u);  // RFC 3720's check value
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(masked_crc32c("123456789"), 0xc78ab0e5u);
}

TEST(TensorBoardFormat, RecordsMatchTheKnownBytes) {
  EXPECT_EQ(hex(tensorboard_record(tensorboard_version_event(1.0))),
            "1800000000000000a37f4b2209000000000000f03f1a0d627261696e2e4576656e743a3286bf577a");
  const std::vector<Scalar> loss{{"loss", 0.5}};
  EXPECT_EQ(hex(tensorboard_record(tensorboard_scalar_event(1.0, 7, loss))),
            "1a00000000000000129bd82d09000000000000f03f10072a0d0a0b0a046c6f7373150000003f862c9a2f");
}

TEST(TensorBoardLog, TensorBoardReadsWhatIsWritten) {
  const test::TemporaryFolder folder;
  {
    TensorBoardLog log(folder.path() / "new" / "tensorboard");
    for (const std::int64_t step : {0, 300, 5000000}) {
      const std::vector<Scalar> scalars{{"denoise/loss", 0.25 * static_cast<double>(step + 1)}, {"rate", -1e-5}};
      log.scalars(step, scalars);
    }
  }
  const auto result = test::run_command(fmt::format("{} {}/tests/logging/read_tensorboard.py {}", LEDA_TEST_PYTHON,
                                                    LEDA_SOURCE_FOLDER, (folder.path() / "new/tensorboard").string()));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const auto seen = nlohmann::json::parse(result.output.substr(result.output.rfind("\n{") + 1));
  EXPECT_EQ(seen.at("scalars").at("denoise/loss"),
            nlohmann::json::parse("[[0,0.25],[300,75.25],[5000000,1250000.25]]"));
  EXPECT_EQ(seen.at("scalars").at("rate").size(), 3u);
}

TEST(TensorBoardLog, TwoLogsInOneFolderAreTwoFiles) {
  const test::TemporaryFolder folder;
  const TensorBoardLog first(folder.path());
  const TensorBoardLog second(folder.path());
  EXPECT_NE(first.path(), second.path());
  EXPECT_NE(first.path().filename().string().find("tfevents"), std::string::npos);
}

TEST(TensorBoardLog, AFolderThatCannotBeIsAStorageError) {
  test::refusal_of(base::ExitCode::storage, [] { TensorBoardLog log("/dev/null/tensorboard"); });
}

}  // namespace
}  // namespace leda::logging
