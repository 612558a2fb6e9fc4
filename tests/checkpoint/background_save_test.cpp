// Saves that go on while training does: what is written, when the ranks know of it, and what one rank's failure does.
#include "checkpoint/background_save.hpp"

#include <ATen/ops/full.h>

#include <set>
#include <thread>

#include "base/error.hpp"
#include "checkpoint/checkpoint_folder.hpp"
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

// Archives of 5 and 1 tensors, one of 5 cut in three by kSmallFile.
constexpr std::uint64_t kSmallFile = 200;

CheckpointContent large_content(std::int64_t step) {
  CheckpointContent content = small_content(step);
  auto& tensors = content.archives["networks"].tensors;
  for (int i = 0; i < 3; ++i) {
    tensors.emplace_back(fmt::format("large {}", i), at::full({40}, static_cast<double>(10 * step + i), at::kFloat));
  }
  return content;
}

std::map<std::string, std::string> bytes_of(const fs::path& folder) {
  std::map<std::string, std::string> bytes;
  for (const auto& entry : fs::directory_iterator(folder)) {
    bytes[entry.path().filename().string()] = storage::read_text_file(entry.path());
  }
  return bytes;
}

SaveOutcome polled(CheckpointStore& store) {
  for (;;) {
    if (const auto outcome = store.poll()) return *outcome;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

TEST(BackgroundSave, WritesWhatWasThereWhenItBegan) {
  const TemporaryFolder at_once;
  const TemporaryFolder behind;
  LoneStore(at_once.path()).store.save(5, small_content(5), "{}");
  LoneStore lone(behind.path());
  CheckpointContent content = small_content(5);
  EXPECT_FALSE(lone.store.is_saving());
  lone.store.start_save({.step = 5}, content, "{}");
  EXPECT_TRUE(lone.store.is_saving());
  for (const auto& [name, tensor] : content.archives.at("networks").tensors) tensor.fill_(-1.0);
  content.state_json = "{}";
  const SaveOutcome outcome = polled(lone.store);
  EXPECT_TRUE(outcome.is_saved);
  EXPECT_FALSE(lone.store.is_saving());
  EXPECT_EQ(bytes_of(step_path(behind.path(), 5)), bytes_of(step_path(at_once.path(), 5)));
}

TEST(BackgroundSave, CopiesMayBeTakenAgainIntoTheSameMemory) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path(), 9);
  for (const std::int64_t step : {1, 2, 3}) {
    lone.store.start_save({.step = step}, step == 2 ? large_content(2) : small_content(step), "");
    ASSERT_TRUE(lone.store.finish()->is_saved);
  }
  for (const std::int64_t step : {1, 3}) test::expect_content(lone.store.load_step(step), step);
  EXPECT_EQ(lone.store.load_step(2).content.archives.at("networks").tensors.size(), 5U);
}

TEST(BackgroundSave, EveryOtherCallWaitsForIt) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path());
  lone.store.start_save({.step = 1, .is_best = true}, small_content(1), "");
  test::expect_content(*lone.store.load_newest(), 1);
  EXPECT_EQ(lone.store.best_step(), 1);
  lone.store.start_save({.step = 2}, small_content(2), "");
  lone.store.mark_best(2);
  lone.store.start_save({.step = 3}, small_content(3), "");
  EXPECT_TRUE(lone.store.save(4, small_content(4), ""));
  lone.store.start_save({.step = 5}, small_content(5), "");
  test::expect_content(lone.store.load_step(5), 5);
  {
    LoneStore left(folder.path());
    left.store.start_save({.step = 6}, small_content(6), "");
  }
  test::expect_content(LoneStore(folder.path()).store.load_step(6), 6);
}

TEST(BackgroundSave, CostsAreKept) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path());
  EXPECT_TRUE(lone.store.costs().empty());
  for (std::int64_t step = 1; step <= 20; ++step) lone.store.save(step, small_content(step), "");
  ASSERT_EQ(lone.store.costs().size(), 16U);
  const SaveCost& newest = lone.store.costs().back();
  EXPECT_EQ(newest.step, 20);
  EXPECT_EQ(newest.num_bytes, 24U + 16U);
  EXPECT_GT(newest.pause_seconds, 0.0);
  EXPECT_GT(newest.write_seconds, 0.0);
  EXPECT_GT(newest.verify_seconds, 0.0);
}

TEST(BackgroundSave, AnUrgentSaveReadsNothingBackAndRemovesNothing) {
  const TemporaryFolder folder;
  LoneStore lone(folder.path(), 1);
  lone.store.save(1, small_content(1), "");
  EXPECT_TRUE(lone.store.save({.step = 2, .is_urgent = true}, small_content(2), ""));
  EXPECT_EQ(lone.store.costs().back().verify_seconds, 0.0);
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 1)));
  test::expect_content(*lone.store.load_newest(), 2);
  lone.store.skip_verification();  // nothing is under way: nothing happens
  lone.store.save(3, small_content(3), "");
  EXPECT_GT(lone.store.costs().back().verify_seconds, 0.0);
  EXPECT_FALSE(fs::exists(step_path(folder.path(), 1)));
  EXPECT_FALSE(fs::exists(step_path(folder.path(), 2)));
}

TEST(BackgroundSave, EveryNthIsKeptForEver) {
  const TemporaryFolder folder;
  test::KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  CheckpointStore store(folder.path(), {.keep_last = 1, .keep_every_num_steps = 3}, "net-1", communicator,
                        kept.console());
  for (std::int64_t step = 1; step <= 8; ++step) store.save(step, small_content(step), "");
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder.path())) names.insert(entry.path().filename().string());
  EXPECT_EQ(names, (std::set<std::string>{"step_00000003", "step_00000006", "step_00000008"}));
}

// Saves large_content(5) on so many ranks.
void save_split(const fs::path& folder, int num_ranks, bool polls) {
  test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
    test::KeptConsole kept(communicator.rank());
    CheckpointStore store(folder, {.max_file_bytes = kSmallFile}, "net-1", communicator, kept.console());
    store.start_save({.step = 5}, large_content(5), R"({"host":"node1"})");
    EXPECT_TRUE((polls ? polled(store) : *store.finish()).is_saved) << kept.text();
    const auto found = store.load_newest();
    const CheckpointContent expected = large_content(5);
    for (const auto& [stem, archive] : expected.archives) {
      const storage::TensorArchive& other = found->content.archives.at(stem);
      ASSERT_EQ(other.tensors.size(), archive.tensors.size());
      EXPECT_EQ(other.metadata, archive.metadata);
      for (std::size_t i = 0; i < archive.tensors.size(); ++i) {
        EXPECT_EQ(other.tensors[i].first, archive.tensors[i].first);
        EXPECT_TRUE(other.tensors[i].second.equal(archive.tensors[i].second));
      }
    }
  });
}

TEST(SplitSave, IsTheSameInEveryByteOnAnyNumberOfRanks) {
  const TemporaryFolder alone;
  save_split(alone.path(), 1, false);
  const auto expected = bytes_of(step_path(alone.path(), 5));
  EXPECT_TRUE(expected.contains("networks-00001-of-00003.safetensors"));
  EXPECT_EQ(expected.size(), 3U + 1U + 3U);  // networks, optimisers, state, provenance, manifest
  for (const int num_ranks : {2, 3, 5}) {
    for (const bool polls : {true, false}) {
      const TemporaryFolder folder;
      save_split(folder.path(), num_ranks, polls);
      EXPECT_EQ(bytes_of(step_path(folder.path(), 5)), expected) << num_ranks << " ranks";
    }
  }
}

TEST(SplitSave, PythonReadsIt) {
  const TemporaryFolder folder;
  save_split(folder.path(), 2, true);
  const auto result = test::run_command(fmt::format("{} {}/tests/checkpoint/checkpoint_reader.py {}", LEDA_TEST_PYTHON,
                                                    LEDA_SOURCE_FOLDER, step_path(folder.path(), 5).string()));
  ASSERT_EQ(result.exit_code, 0) << result.output;
  EXPECT_NE(result.output.find("networks weight [[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]] vocabulary=0123456789abcdef\n"),
            std::string::npos)
      << result.output;
  EXPECT_NE(result.output.find("networks large 2 [52.0, "), std::string::npos) << result.output;
}

// Rank 1 finds a file where its folder should be; it cannot even say so there.
TEST(SplitSave, OneRanksFailureIsEveryRanksAndLosesNothing) {
  const TemporaryFolder folder;
  const fs::path checkpoints = folder.path() / "checkpoints";
  const fs::path taken = folder.path() / "taken";
  storage::write_file_durably(taken, "a file");
  save_split(checkpoints, 1, false);
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    test::KeptConsole kept(communicator.rank());
    const fs::path own = communicator.rank() == 1 ? taken / "below" : checkpoints;
    CheckpointStore store(own, {.max_file_bytes = kSmallFile}, "net-1", communicator, kept.console());
    store.start_save({.step = 6}, large_content(6), "");
    EXPECT_FALSE(polled(store).is_saved);
    if (communicator.rank() == 0) {
      EXPECT_NE(kept.text().find("step 6 was not saved"), std::string::npos) << kept.text();
      EXPECT_NE(kept.text().find("on rank 1"), std::string::npos) << kept.text();
    }
    store.start_save({.step = 7, .is_last = true}, large_content(7), "");
    EXPECT_THROW(polled(store), base::ErrorOnAllRanks);
    EXPECT_EQ(store.load_newest()->step, 5);
  });
  for (const auto& entry : fs::directory_iterator(checkpoints)) {
    EXPECT_EQ(entry.path().filename(), "step_00000005");
  }
}

// Of two ranks' writers, without a store.
SaveJob job_of(const fs::path& folder, int rank) {
  const CheckpointContent content = large_content(5);
  std::vector<ArchiveFile> files = plan_files(content, kSmallFile);
  std::vector<int> writers = deal_files(files, {0, 1});
  return {.folder = folder,
          .id = "1",
          .run_identity = "net-1",
          .request = {.step = 5},
          .rank = rank,
          .files = std::move(files),
          .writers = std::move(writers),
          .provenance_json = "",
          .retention = {},
          .patience_seconds = 0.3};
}

std::string failure_of(const SaveJob& job) {
  SaveProgress progress;
  test::KeptConsole kept;
  try {
    const auto error = test::thrown_error([&] { run_save(job, large_content(5), progress, kept.console()); });
    return error ? error->what() : "";
  } catch (const SaveAborted& reason) {
    return std::string("aborted: ") + reason.what();
  }
}

TEST(SplitSave, AWriterSaysInItsRecordThatItFailed) {
  const TemporaryFolder folder;
  const SaveJob second = job_of(folder.path(), 1);
  const std::string in_the_way = "networks-00002-of-00003.safetensors";
  fs::create_directories(temporary_path(folder.path(), 5, "1") / in_the_way / "below");
  EXPECT_NE(failure_of(second).find("cannot create"), std::string::npos);
  const std::string first = failure_of(job_of(folder.path(), 0));
  EXPECT_NE(first.find("aborted: rank 1"), std::string::npos) << first;
  EXPECT_FALSE(fs::exists(step_path(folder.path(), 5)));
}

TEST(SplitSave, AWriterThatNeverComesIsWaitedForWithPatienceOnly) {
  const TemporaryFolder folder;
  const std::string said = failure_of(job_of(folder.path(), 0));
  EXPECT_NE(said.find("rank 1's part"), std::string::npos) << said;
  EXPECT_FALSE(fs::exists(step_path(folder.path(), 5)));
}

// A wait without any would be silence to the watchdog, one that notes without end would hide a disk that hangs.
TEST(SplitSave, WhoWaitsForItsWriterNotesEveryProgressAndNothingElse) {
  const TemporaryFolder folder;
  SaveJob job = job_of(folder.path(), 0);
  job.writers = {1, 2, 3, 0};
  job.patience_seconds = 60.0;
  std::thread others([&] {
    for (int rank = 1; rank <= 3; ++rank) {
      std::this_thread::sleep_for(std::chrono::milliseconds(600));
      SaveJob other = job;
      other.rank = rank;
      EXPECT_EQ(failure_of(other), "");
    }
  });
  test::KeptConsole kept;
  const CheckpointContent content = large_content(5);
  BackgroundSave save(job, content, kept.console());
  std::vector<std::string> notes;
  save.wait([&](const std::string& note) { notes.push_back(note); });
  others.join();
  EXPECT_GT(save.result().write_seconds, 1.0);
  // One when the wait begins, and one for each record at most: two at least come in quarters of a second of their own.
  EXPECT_GE(notes.size(), 3U);
  EXPECT_LE(notes.size(), 5U);
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 5)));
}

TEST(SplitSave, APartThatIsGoneOrOfAnotherSizeWhenTheManifestIsWrittenIsSeen) {
  for (const bool is_gone : {true, false}) {
    const TemporaryFolder folder;
    EXPECT_EQ(failure_of(job_of(folder.path(), 1)), "");
    const fs::path part = temporary_path(folder.path(), 5, "1") / "networks-00002-of-00003.safetensors";
    ASSERT_TRUE(fs::exists(part));
    if (is_gone) {
      fs::remove(part);
    } else {
      fs::resize_file(part, 100);
    }
    const std::string said = failure_of(job_of(folder.path(), 0));
    EXPECT_NE(said.find("networks-00002-of-00003.safetensors"), std::string::npos) << said;
    EXPECT_FALSE(fs::exists(step_path(folder.path(), 5)));
  }
}

}  // namespace
}  // namespace leda::checkpoint
