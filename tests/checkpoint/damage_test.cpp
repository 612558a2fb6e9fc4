// What becomes of a checkpoint that a disk, a person or a kill has damaged: never loaded, always named, and the one
// before it used.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <thread>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "tests/checkpoint/small_checkpoint.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::LoneStore;
using test::small_content;
using test::step_path;
using test::TemporaryFolder;

constexpr const char* kListed[] = {"manifest.json", "state.json", "networks.safetensors", "optimisers.safetensors"};

// Steps 10 and 20; what `damage` does to 20 must be seen and 10 be used.
void expect_passed_over(const std::string& file, const std::string& what,
                        const std::function<void(const fs::path&)>& damage, const fs::path& folder) {
  damage(step_path(folder, 20) / file);
  LoneStore later(folder);
  const auto found = later.store.load_newest();
  ASSERT_TRUE(found) << file << ": " << what;
  EXPECT_EQ(found->step, 10) << file << ": " << what;
  const std::string said = later.kept.text();
  EXPECT_NE(said.find("step_00000020"), std::string::npos) << file << ": " << what;
  EXPECT_NE(said.find(file), std::string::npos) << what << ": " << said;
}

void write_raw(const fs::path& path, const std::string& bytes) {
  storage::FileWriter writer(path);
  writer.write(bytes);
}

TEST(DamagedCheckpoint, AFlippedBitAnywhereIsSeenAndTheOneBeforeUsed) {
  const TemporaryFolder folder;
  LoneStore writer(folder.path());
  writer.store.save(10, small_content(10), "");
  writer.store.save(20, small_content(20), "");
  for (const char* file : kListed) {
    const fs::path path = step_path(folder.path(), 20) / file;
    const std::string good = storage::read_text_file(path);
    const std::size_t stride = std::max<std::size_t>(1, good.size() / 60);
    for (std::size_t position = 0; position < good.size(); position += stride) {
      std::string flipped = good;
      flipped[position] = static_cast<char>(flipped[position] ^ (1 << (position % 8)));
      expect_passed_over(
          file, fmt::format("bit flipped in byte {}", position),
          [&](const fs::path& target) { write_raw(target, flipped); }, folder.path());
    }
    write_raw(path, good);
  }
  EXPECT_EQ(LoneStore(folder.path()).store.load_newest()->step, 20);
}

TEST(DamagedCheckpoint, ACutLengthenedOrMissingFileIsSeenAndTheOneBeforeUsed) {
  const TemporaryFolder folder;
  LoneStore writer(folder.path());
  writer.store.save(10, small_content(10), "");
  writer.store.save(20, small_content(20), "");
  for (const char* file : kListed) {
    const fs::path path = step_path(folder.path(), 20) / file;
    const std::string good = storage::read_text_file(path);
    for (const std::size_t length : {std::size_t{0}, std::size_t{1}, good.size() / 2, good.size() - 1}) {
      expect_passed_over(
          file, fmt::format("cut to {} bytes", length),
          [&](const fs::path& target) { write_raw(target, good.substr(0, length)); }, folder.path());
    }
    expect_passed_over(
        file, "lengthened", [&](const fs::path& target) { write_raw(target, good + "\n"); }, folder.path());
    expect_passed_over(
        file, "removed", [](const fs::path& target) { fs::remove(target); }, folder.path());
    write_raw(path, good);
  }
}

TEST(DamagedCheckpoint, AFolderUnderTheNameOfAnotherStepIsSeen) {
  const TemporaryFolder folder;
  LoneStore writer(folder.path());
  writer.store.save(10, small_content(10), "");
  fs::copy(step_path(folder.path(), 10), step_path(folder.path(), 20));
  LoneStore later(folder.path());
  EXPECT_EQ(later.store.load_newest()->step, 10);
  EXPECT_NE(later.kept.text().find("manifest says step 10"), std::string::npos);
}

TEST(DamagedCheckpoint, DamagedProvenanceCostsNoCheckpoint) {
  const TemporaryFolder folder;
  LoneStore writer(folder.path());
  writer.store.save(20, small_content(20), R"({"host":"node1"})");
  const fs::path path = step_path(folder.path(), 20) / "provenance.json";
  std::string text = storage::read_text_file(path);
  text.replace(text.find("node1"), 5, "node2");
  write_raw(path, text);
  const auto found = LoneStore(folder.path()).store.load_newest();
  test::expect_content(*found, 20);
  EXPECT_EQ(found->provenance_json, "");
}

TEST(DamagedCheckpoint, NoneUsableIsADataErrorWithTheReasons) {
  const TemporaryFolder folder;
  LoneStore writer(folder.path());
  writer.store.save(10, small_content(10), "");
  writer.store.save(20, small_content(20), "");
  fs::remove(step_path(folder.path(), 10) / "state.json");
  write_raw(step_path(folder.path(), 20) / "manifest.json", "{}");
  const base::Error error =
      test::refusal_of(base::ExitCode::data, [&] { LoneStore(folder.path()).store.load_newest(); });
  EXPECT_NE(error.text().value.find("step 10: state.json is missing"), std::string::npos) << error.what();
  EXPECT_NE(error.text().value.find("step 20: the checksum of manifest.json"), std::string::npos) << error.what();
}

TEST(DamagedCheckpoint, DoesNotCountAmongTheLastFewNorOutliveThem) {
  const TemporaryFolder folder;
  LoneStore writer(folder.path(), 2);
  for (const std::int64_t step : {10, 20, 30}) writer.store.save(step, small_content(step), "");
  fs::remove(step_path(folder.path(), 30) / "state.json");
  LoneStore resumed(folder.path(), 2);
  EXPECT_EQ(resumed.store.load_newest()->step, 20);
  resumed.store.save(25, small_content(25), "");
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 20)));
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 25)));
  resumed.store.save(35, small_content(35), "");
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 25)));
  EXPECT_TRUE(fs::exists(step_path(folder.path(), 35)));
  EXPECT_FALSE(fs::exists(step_path(folder.path(), 30)));
}

int status_of_child(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    int status = 99;
    try {
      status = work();
    } catch (...) {
    }
    _exit(status);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

bool has_ended(pid_t child) {
  siginfo_t state{};
  waitid(P_PID, static_cast<id_t>(child), &state, WEXITED | WNOHANG | WNOWAIT);
  return state.si_pid != 0;
}

// A child saves step after step, twice each with different content, until kill -9 finds it somewhere.
TEST(KilledSave, LeavesACompleteCheckpointAtAnyMoment) {
  const TemporaryFolder folder;
  LoneStore(folder.path()).store.save(1, small_content(1), "");
  base::KeyedRandom random({base::key_of("kill moments")});
  std::int64_t newest = 1;
  for (int round = 0; round < 30; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      LoneStore lone(folder.path(), 2);
      for (std::int64_t step = newest + 1;; ++step) {
        CheckpointContent other = small_content(step);
        other.archives.erase("optimisers");
        const bool is_saved = lone.store.save(step, other, "") && lone.store.save(step, small_content(step), "{}");
        if (!is_saved) _exit(1);
        lone.store.mark_best(step);
      }
    }
    while (!fs::exists(step_path(folder.path(), newest + 1)) && !has_ended(child)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(30000)));
    kill(child, SIGKILL);
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the child failed by itself";

    LoneStore later(folder.path(), 2);
    const auto found = later.store.load_newest();
    ASSERT_TRUE(found);
    ASSERT_GT(found->step, newest);
    ASSERT_EQ(later.kept.text(), "");
    newest = found->step;
    if (found->content.archives.size() == 2) {
      test::expect_content(*found, newest);
    } else {
      EXPECT_EQ(found->content.state_json, small_content(newest).state_json);
    }
  }
  EXPECT_GE(newest, 31);
  LoneStore writer(folder.path(), 2);
  writer.store.check_writable(0);
  for (const auto& entry : fs::directory_iterator(folder.path())) {
    EXPECT_FALSE(entry.path().filename().string().starts_with(".")) << entry.path();
  }
}

// Saves fail, say so and throw where they must, whatever limits the file; afterwards the one before is there.
int save_into_full(const fs::path& folder) {
  LoneStore lone(folder);
  CheckpointContent large = small_content(2);
  large.archives["networks"].tensors.emplace_back("large", at::arange(std::int64_t{1} << 19, at::kFloat));
  if (lone.store.save(2, large, "")) return 1;
  const std::string said = lone.kept.text();
  if (said.find("step 2 was not saved") == std::string::npos) return 2;
  if (said.find("networks.safetensors") == std::string::npos || said.find("bytes free") == std::string::npos) return 3;
  for (const bool at_the_start : {false, true}) {
    const base::ExitCode exit_code = test::exit_code_of([&] {
      if (at_the_start) {
        lone.store.check_writable(std::uint64_t{1} << 21);
      } else {
        lone.store.save_last(2, large, "");
      }
    });
    if (exit_code == base::ExitCode::finished) return 4;
    if (exit_code != base::ExitCode::storage) return 5;
  }
  if (!lone.store.save(3, small_content(3), "")) return 6;  // what fits is saved again
  return lone.store.load_newest()->step == 3 ? 0 : 7;
}

TEST(FullDisk, AFileSizeLimitIsSaidAndLosesNothing) {
  const TemporaryFolder folder;
  LoneStore(folder.path()).store.save(1, small_content(1), "");
  EXPECT_EQ(status_of_child([&] {
              signal(SIGXFSZ, SIG_IGN);
              const rlimit limit{1 << 20, 1 << 20};
              setrlimit(RLIMIT_FSIZE, &limit);
              return save_into_full(folder.path());
            }),
            0);
  test::expect_content(LoneStore(folder.path()).store.load_step(1), 1);
}

// Where this user may not mount, the test above stands for both.
TEST(FullDisk, AFileSystemOfOneMebibyteIsSaidAndLosesNothing) {
  const TemporaryFolder folder;
  if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) return;
  const fs::path checkpoints = folder.path() / "checkpoints";
  EXPECT_TRUE(LoneStore(checkpoints).store.save(1, small_content(1), ""));
  EXPECT_EQ(save_into_full(checkpoints), 0);
  test::expect_content(LoneStore(checkpoints).store.load_step(1), 1);
  EXPECT_EQ(umount(folder.path().c_str()), 0);
}

}  // namespace
}  // namespace leda::checkpoint
