#include "checkpoint/shared_reading.hpp"

#include <algorithm>
#include <fstream>
#include <tuple>
#include <vector>

#include "tests/checkpoint/small_checkpoint.hpp"
#include "tests/support/recording_communicator.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;
using distributed::Communicator;

constexpr const char* kIdentity = "net-1";

void save(const fs::path& folder, std::int64_t step, std::int64_t content_of, std::uint64_t max_file_bytes) {
  test::KeptConsole kept;
  distributed::SingleProcessCommunicator alone;
  CheckpointStore store(folder, {.max_file_bytes = max_file_bytes}, kIdentity, alone, kept.console());
  ASSERT_TRUE(store.save(step, test::small_content(content_of), R"({"host":"node1"})"));
}

void flip_a_byte(const fs::path& file) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(-1, std::ios::end);
  const char last = static_cast<char>(stream.get());
  stream.seekp(-1, std::ios::end);
  stream.put(static_cast<char>(last ^ 1));
}

// One folder for each rank, each with the checkpoint of step 5; a limit of 1 byte makes a file of each tensor.
class SharedReadingTest : public ::testing::TestWithParam<std::tuple<int, std::uint64_t>> {
 protected:
  SharedReadingTest() {
    for (int rank = 0; rank < num_ranks(); ++rank) save(folder_of(rank), 5, 5, std::get<1>(GetParam()));
  }

  int num_ranks() const { return std::get<0>(GetParam()); }
  fs::path folder_of(int rank) const { return folder_.path() / std::to_string(rank); }
  fs::path checkpoint_of(int rank) const { return test::step_path(folder_of(rank), 5); }
  std::string a_file_of_networks() const {
    return std::get<1>(GetParam()) == 1 ? "networks-00001-of-00002.safetensors" : "networks.safetensors";
  }

  // Returns how many broadcasts of a float tensor the rank with most of them took part in.
  std::int64_t read(const std::string& warning) {
    std::vector<std::int64_t> num_sent(static_cast<std::size_t>(num_ranks()));
    test::run_ranks(num_ranks(), [&](Communicator& target) {
      std::vector<std::string> record;
      test::RecordingCommunicator communicator(target, record);
      test::KeptConsole kept(target.rank());
      const SharedReading reading =
          read_on_all_ranks(checkpoint_of(target.rank()), 5, kIdentity, communicator, kept.console());
      ASSERT_TRUE(reading.checkpoint);
      test::expect_content(*reading.checkpoint, 5);
      EXPECT_NE(reading.checkpoint->provenance_json.find("node1"), std::string::npos);
      num_sent[static_cast<std::size_t>(target.rank())] =
          std::count_if(record.begin(), record.end(), [](const std::string& call) {
            return call.find("broadcast") != std::string::npos && call.find("Float") != std::string::npos;
          });
      if (target.rank() == 0) {
        EXPECT_EQ(kept.text().empty(), warning.empty()) << kept.text();
        EXPECT_NE(kept.text().find(warning), std::string::npos) << kept.text();
      }
    });
    return *std::max_element(num_sent.begin(), num_sent.end());
  }

  void expect_refused(const std::string& reason) {
    test::run_ranks(num_ranks(), [&](Communicator& communicator) {
      test::KeptConsole kept(communicator.rank());
      const SharedReading reading =
          read_on_all_ranks(checkpoint_of(communicator.rank()), 5, kIdentity, communicator, kept.console());
      EXPECT_FALSE(reading.checkpoint);
      EXPECT_NE(reading.reason.find(reason), std::string::npos) << reading.reason;
      EXPECT_EQ(kept.text(), "");
    });
  }

  test::TemporaryFolder folder_;
};

TEST_P(SharedReadingTest, EveryRankReadsItselfAndNoTensorIsSent) { EXPECT_EQ(read(""), 0); }

TEST_P(SharedReadingTest, WhatRankZeroFindsDamagedIsRefusedByAll) {
  flip_a_byte(checkpoint_of(0) / a_file_of_networks());
  expect_refused("the checksum of " + a_file_of_networks() + " does not match");
}

class SharedReadingOfSeveralRanks : public SharedReadingTest {};

TEST_P(SharedReadingOfSeveralRanks, ARankThatFindsItDamagedIsGivenRankZeros) {
  flip_a_byte(checkpoint_of(num_ranks() - 1) / a_file_of_networks());
  EXPECT_GT(read("rank " + std::to_string(num_ranks() - 1) + " does not read what rank 0 reads"), 0);
}

TEST_P(SharedReadingOfSeveralRanks, ARankWithoutTheFolderIsGivenRankZeros) {
  fs::remove_all(folder_of(1));
  EXPECT_GT(read("manifest.json is missing"), 0);
}

TEST_P(SharedReadingOfSeveralRanks, AnotherCompleteCheckpointOnOneRankIsNotBelieved) {
  fs::remove_all(folder_of(1));
  save(folder_of(1), 5, 6, std::get<1>(GetParam()));
  EXPECT_GT(read("it finds another checkpoint there"), 0);
}

TEST_P(SharedReadingTest, AnotherRunsIsForeignOnAllRanks) {
  test::run_ranks(num_ranks(), [&](Communicator& communicator) {
    test::KeptConsole kept(communicator.rank());
    const SharedReading reading =
        read_on_all_ranks(checkpoint_of(communicator.rank()), 5, "net-2", communicator, kept.console());
    EXPECT_FALSE(reading.checkpoint);
    ASSERT_TRUE(reading.foreign_error);
    EXPECT_EQ(reading.foreign_error->exit_code(), base::ExitCode::data);
  });
}

INSTANTIATE_TEST_SUITE_P(RanksAndFiles, SharedReadingTest,
                         ::testing::Combine(::testing::Values(1, 2, 3), ::testing::Values(1U, 1U << 20)));
INSTANTIATE_TEST_SUITE_P(RanksAndFiles, SharedReadingOfSeveralRanks,
                         ::testing::Combine(::testing::Values(2, 3), ::testing::Values(1U, 1U << 20)));

}  // namespace
}  // namespace leda::checkpoint
