#include "checkpoint/checkpoint_store.hpp"

#include <sys/stat.h>

#include <nlohmann/json.hpp>
#include <set>

#include "base/error.hpp"
#include "checkpoint/checksummed_json.hpp"
#include "tests/checkpoint/small_checkpoint.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::LoneStore;
using test::small_content;
using test::step_path;
using test::TemporaryFolder;

constexpr const char* kProvenance = R"({"host":"node1","restarts":[{"at":"2026-03-10T12:00:00Z"}]})";

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename().string());
  return names;
}

std::string listed_bytes(const fs::path& folder) {
  std::string all;
  for (const char* name : {"manifest.json", "state.json", "networks.safetensors", "optimisers.safetensors"}) {
    all += storage::read_text_file(folder / name);
  }
  return all;
}

TEST(CheckpointStore, RoundTripIsBitExact) {
  const TemporaryFolder folder;
  ASSERT_TRUE(LoneStore(folder.path()).store.save(500, small_content(500), kProvenance));
  LoneStore later(folder.path());
  const auto found = later.store.load_newest();
  ASSERT_TRUE(found);
  test::expect_content(*found, 500);
  EXPECT_FALSE(found->is_last);
  EXPECT_EQ(nlohmann::json::parse(found->provenance_json), nlohmann::json::parse(kProvenance));
  const std::set<std::string> expected{"manifest.json", "state.json", "networks.safetensors", "optimisers.safetensors",
                                       "provenance.json"};
  EXPECT_EQ(names_in(step_path(folder.path(), 500)), expected);
}

TEST(CheckpointStore, AFinishedRunIsKnownAsFinished) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path());
  lone.store.save(500, small_content(500), "");
  lone.store.save_last(500, small_content(500), "");  // of the same step: must take its place
  EXPECT_TRUE(lone.store.load_newest()->is_last);
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"step_00000500"});
}

TEST(CheckpointStore, AnEmptyOrMissingFolderHasNone) {
  const TemporaryFolder folder;
  EXPECT_FALSE(LoneStore(folder.path()).store.load_newest());
  EXPECT_FALSE(LoneStore(folder.path() / "missing").store.load_newest());
  EXPECT_FALSE(fs::exists(folder.path() / "missing"));
}

TEST(CheckpointStore, EqualContentGivesEqualBytesWhateverTheProvenance) {
  const TemporaryFolder one;
  const TemporaryFolder other;
  LoneStore(one.path()).store.save(7, small_content(7), kProvenance);
  LoneStore interrupted(other.path());
  interrupted.store.save(6, small_content(6), R"({"host":"node2"})");
  interrupted.store.mark_best(6);
  LoneStore resumed(other.path());
  resumed.store.load_newest();
  resumed.store.save(7, small_content(7), R"({"host":"node3"})");
  EXPECT_EQ(listed_bytes(step_path(one.path(), 7)), listed_bytes(step_path(other.path(), 7)));
}

TEST(CheckpointStore, TheLastFewAndTheBestAreKept) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path(), 2);
  EXPECT_FALSE(lone.store.best_step());
  for (std::int64_t step = 1; step <= 6; ++step) {
    ASSERT_TRUE(lone.store.save(step, small_content(step), ""));
    if (step == 1 || step == 3) lone.store.mark_best(step);
  }
  const std::set<std::string> expected{"best.json", "step_00000003", "step_00000005", "step_00000006"};
  EXPECT_EQ(names_in(folder.path()), expected);
  LoneStore later(folder.path(), 2);
  EXPECT_EQ(later.store.best_step(), 3);
  test::expect_content(later.store.load_step(3), 3);
  later.store.save(7, small_content(7), "");
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 3)));
}

TEST(CheckpointStore, ABestThatIsNotThereIsNotBest) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path());
  EXPECT_THROW(lone.store.mark_best(4), base::Error);
  lone.store.save(4, small_content(4), "");
  lone.store.mark_best(4);
  fs::remove_all(step_path(folder.path(), 4));
  EXPECT_FALSE(LoneStore(folder.path()).store.best_step());
  storage::write_file_durably(folder.path() / "best.json", "{}");
  LoneStore damaged(folder.path());
  EXPECT_FALSE(damaged.store.best_step());
  EXPECT_NE(damaged.kept.text().find("best.json is damaged"), std::string::npos);
}

TEST(CheckpointStore, TheSameStepAgainKeepsWhatIsTheSameAndReplacesWhatIsNot) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path());
  lone.store.save(5, small_content(5), R"({"first":1})");
  lone.store.save(5, small_content(5), R"({"second":1})");
  EXPECT_NE(lone.store.load_newest()->provenance_json.find("first"), std::string::npos);
  CheckpointContent other = small_content(5);
  other.state_json = "{}";
  lone.store.save(5, other, R"({"third":1})");
  EXPECT_EQ(lone.store.load_newest()->content.state_json, "{}");
  storage::write_file_durably(step_path(folder.path(), 5) / "state.json", "damaged");
  lone.store.save(5, other, "");
  EXPECT_EQ(lone.store.load_newest()->content.state_json, "{}");
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"step_00000005"});
}

TEST(CheckpointStore, AKillBetweenTheRenamesOfAReplacementLosesNothing) {
  const TemporaryFolder folder;
  LoneStore(folder.path()).store.save(5, small_content(5), "");
  fs::rename(step_path(folder.path(), 5), folder.path() / ".step_00000005_replaced-77");
  LoneStore later(folder.path());
  test::expect_content(*later.store.load_newest(), 5);
  later.store.check_writable(0);
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"step_00000005"});
}

TEST(CheckpointStore, LeftoversOfKilledSavesAreRemovedByTheNextWriterOnly) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / ".step_00000009_tmp-4711");
  storage::write_file_durably(folder.path() / ".step_00000009_tmp-4711" / "state.json", "{}");
  fs::create_directories(folder.path() / "notes");
  EXPECT_FALSE(LoneStore(folder.path()).store.load_newest());
  EXPECT_EQ(names_in(folder.path()).size(), 2U);
  LoneStore writer(folder.path());
  writer.store.check_writable(1000);
  EXPECT_EQ(names_in(folder.path()), std::set<std::string>{"notes"});
  EXPECT_NE(writer.kept.text().find("interrupted save"), std::string::npos);
}

TEST(CheckpointStore, ACheckpointOfAnotherNetworkIsRefusedNamingBoth) {
  const TemporaryFolder folder;
  LoneStore(folder.path(), 3, "redcnn-96").store.save(5, small_content(5), "");
  LoneStore other(folder.path(), 3, "redcnn-32");
  for (const bool by_step : {false, true}) {
    const base::Error error = test::refusal_of(base::ExitCode::data, [&] {
      if (by_step) {
        other.store.load_step(5);
      } else {
        other.store.load_newest();
      }
    });
    EXPECT_NE(error.text().what.find("another network"), std::string::npos);
    EXPECT_NE(error.text().value.find("redcnn-96"), std::string::npos);
    EXPECT_NE(error.text().value.find("redcnn-32"), std::string::npos);
  }
}

TEST(CheckpointStore, FilesInTheWayAreStorageErrorsOrWarnings) {
  const TemporaryFolder folder;
  storage::write_file_durably(folder.path() / "taken", "a file");
  LoneStore lone(folder.path() / "taken" / "checkpoints");
  test::refusal_of(base::ExitCode::storage, [&] { lone.store.check_writable(10); });
  test::refusal_of(base::ExitCode::storage, [&] { lone.store.save_last(1, small_content(1), ""); });
  EXPECT_FALSE(lone.store.save(1, small_content(1), ""));
  EXPECT_NE(lone.kept.text().find("step 1 was not saved"), std::string::npos);
}

TEST(CheckpointStore, MoreBytesThanAreFreeAreRefusedAtTheStart) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path());
  lone.store.check_writable(1U << 20);
  EXPECT_EQ(names_in(folder.path()).size(), 0U);
  const base::Error error =
      test::refusal_of(base::ExitCode::storage, [&] { lone.store.check_writable(std::uint64_t{1} << 60); });
  EXPECT_NE(error.text().what.find("1152921504606846976 bytes"), std::string::npos);
}

TEST(CheckpointStore, EveryRankLoadsRankZerosCheckpoint) {
  const TemporaryFolder folder;
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    test::KeptConsole kept(communicator.rank());
    // Only rank 0's folder is real: no other rank needs the file system.
    const fs::path own = communicator.rank() == 0 ? folder.path() : "/nowhere";
    CheckpointStore store(own, {}, "net-1", communicator, kept.console());
    EXPECT_FALSE(store.load_newest());
    const bool is_source = communicator.rank() == 0;
    EXPECT_TRUE(store.save(5, is_source ? small_content(5) : CheckpointContent{}, is_source ? kProvenance : ""));
    store.mark_best(5);
    EXPECT_EQ(store.best_step(), 5);
    const auto found = store.load_newest();
    ASSERT_TRUE(found);
    test::expect_content(*found, 5);
    EXPECT_NE(found->provenance_json.find("node1"), std::string::npos);
    test::expect_content(store.load_step(5), 5);
    CheckpointStore later(own, {}, "net-1", communicator, kept.console());
    EXPECT_EQ(later.best_step(), 5);
  });
}

TEST(CheckpointStore, RankZerosFailureReachesEveryRank) {
  const TemporaryFolder folder;
  storage::write_file_durably(folder.path() / "taken", "a file");
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    test::KeptConsole kept(communicator.rank());
    CheckpointStore store(folder.path() / "taken", {}, "net-1", communicator, kept.console());
    EXPECT_FALSE(store.save(5, small_content(5), ""));
    EXPECT_THROW(store.save_last(5, small_content(5), ""), base::ErrorOnAllRanks);
    EXPECT_THROW(store.check_writable(1), base::ErrorOnAllRanks);
    EXPECT_EQ(kept.text().empty(), communicator.rank() != 0);
    CheckpointStore other(folder.path() / "else", {}, "net-2", communicator, kept.console());
    EXPECT_THROW(other.load_step(3), base::ErrorOnAllRanks);
  });
}

// Written by the program before version 2, whose runs were known by their network alone.
TEST(CheckpointStore, AFolderOfFormatVersion1IsReadAndContinued) {
  for (const std::string identity : {"net-1", "net-1; seed 7"}) {
    const TemporaryFolder folder;
    fs::copy(fs::path(LEDA_SOURCE_FOLDER) / "tests" / "checkpoint" / "version_1", step_path(folder.path(), 5));
    storage::write_file_durably(folder.path() / "best.json",
                                add_checksum(R"({"format":"leda-best-checkpoint","version":1,"step":5})"));
    LoneStore lone(folder.path(), 3, identity);
    const auto found = lone.store.load_newest();
    ASSERT_TRUE(found);
    test::expect_content(*found, 5);
    EXPECT_TRUE(found->is_last);
    EXPECT_NE(found->provenance_json.find("node1"), std::string::npos);
    EXPECT_EQ(lone.store.best_step(), 5);
    EXPECT_EQ(lone.kept.text(), "");
    EXPECT_TRUE(lone.store.save(6, small_content(6), ""));
    EXPECT_THROW(LoneStore(folder.path(), 3, "net-12; seed 7").store.load_step(5), base::Error);
  }
}

TEST(CheckpointStore, ForeignOnesArePassedOverWithTheReason) {
  const TemporaryFolder folder;
  LoneStore(folder.path()).store.save(5, small_content(5), "");
  LoneStore(folder.path(), 3, "net-2").store.save(6, small_content(6), "");
  LoneStore lone(folder.path());
  test::expect_content(*lone.store.load_newest(), 5);
  EXPECT_NE(lone.kept.text().find("foreign checkpoint"), std::string::npos) << lone.kept.text();
  EXPECT_NE(lone.kept.text().find("net-2"), std::string::npos);
}

TEST(CheckpointStore, PythonReadsAndVerifiesACheckpoint) {
  const TemporaryFolder folder;
  LoneStore(folder.path()).store.save_last(5, small_content(5), kProvenance);
  const auto result = test::run_command(fmt::format("{} {}/tests/checkpoint/checkpoint_reader.py {}", LEDA_TEST_PYTHON,
                                                    LEDA_SOURCE_FOLDER, step_path(folder.path(), 5).string()));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  const std::string expected =
      "step 5 last True identity net-1\n"
      "networks none [] vocabulary=0123456789abcdef\n"
      "networks weight [[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]] vocabulary=0123456789abcdef\n"
      "optimisers moment [5.0, 0.3333333333333333]\n"
      "state samples 40\n"
      "provenance node1\n";
  EXPECT_EQ(result.output, expected);
}

}  // namespace
}  // namespace leda::checkpoint
