// In which order retention asks the system for what it does: the calls of the C library that it goes through are taken
// over in this program, written down while somebody wants to know, and passed on to the kernel.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_listing.hpp"
#include "storage/durable_file.hpp"
#include "tests/checkpoint/small_checkpoint.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;

using Calls = std::vector<std::string>;

// Of this thread; null where nobody wants to know.
Calls*& calls_wanted() {
  thread_local Calls* wanted = nullptr;
  return wanted;
}

void note_call(const std::string& call) {
  if (Calls* const wanted = calls_wanted()) wanted->push_back(call);
}

class CallsNoted {
 public:
  explicit CallsNoted(Calls& calls) { calls_wanted() = &calls; }
  ~CallsNoted() { calls_wanted() = nullptr; }
  CallsNoted(const CallsNoted&) = delete;
  CallsNoted& operator=(const CallsNoted&) = delete;
};

std::string path_of(int descriptor) {
  std::error_code ignored;
  return fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), ignored).filename().string();
}

std::string name_of(const char* path) { return fs::path(path).filename().string(); }

// What is left of the names of files and of the save.
Calls in_short(const Calls& calls) {
  Calls kinds;
  for (const std::string& call : calls) {
    const std::string kind = call.starts_with("unlink") ? "unlink" : call;
    if (kinds.empty() || kinds.back() != kind) kinds.push_back(kind);
  }
  return kinds;
}

}  // namespace
}  // namespace leda::checkpoint

extern "C" int rename(const char* from, const char* to) noexcept {
  leda::checkpoint::note_call("rename " + leda::checkpoint::name_of(from) + " " + leda::checkpoint::name_of(to));
  return static_cast<int>(syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0U));
}

extern "C" int fsync(int descriptor) {
  leda::checkpoint::note_call("fsync " + leda::checkpoint::path_of(descriptor));
  return static_cast<int>(syscall(SYS_fsync, descriptor));
}

extern "C" int unlinkat(int folder, const char* path, int flags) noexcept {
  leda::checkpoint::note_call("unlink " + leda::checkpoint::name_of(path));
  return static_cast<int>(syscall(SYS_unlinkat, folder, path, flags));
}

namespace leda::checkpoint {
namespace {

class RetentionOrder : public ::testing::Test {
 protected:
  RetentionOrder() {
    for (const std::int64_t step : {1, 2, 3}) {
      fs::create_directories(test::step_path(folder(), step));
      storage::write_file_durably(test::step_path(folder(), step) / "manifest.json", "{}");
    }
  }

  fs::path folder() const { return folder_.path() / "checkpoints"; }

  test::TemporaryFolder folder_;
  test::KeptConsole kept_;
  Calls calls_;
};

TEST_F(RetentionOrder, ANameIsGoneFromTheDiskBeforeTheFirstFileIs) {
  {
    const CallsNoted noted(calls_);
    apply_retention(folder(), 3, {.keep_last = 1}, "7-1", kept_.console());
  }
  EXPECT_EQ(in_short(calls_), (Calls{"rename step_00000001 .step_00000001_tmp-7-1",
                                     "rename step_00000002 .step_00000002_tmp-7-1", "fsync checkpoints", "unlink"}));
  EXPECT_EQ(find_checkpoints(folder()).size(), 1U);
  EXPECT_EQ(kept_.text(), "");
}

TEST_F(RetentionOrder, WhereNothingLeavesNothingIsAskedOfTheDisk) {
  const CallsNoted noted(calls_);
  apply_retention(folder(), 3, {.keep_last = 3}, "7-1", kept_.console());
  EXPECT_EQ(calls_, Calls{});
}

// Another process may have been killed between its rename and its fsync.
TEST_F(RetentionOrder, LeftoversLoseTheirNamesOnTheDiskFirst) {
  fs::rename(test::step_path(folder(), 1), temporary_path(folder(), 1, "7-1"));
  {
    const CallsNoted noted(calls_);
    remove_leftovers(folder(), "", kept_.console());
  }
  EXPECT_EQ(in_short(calls_), (Calls{"fsync checkpoints", "unlink"}));
  EXPECT_FALSE(fs::exists(temporary_path(folder(), 1, "7-1")));
}

}  // namespace
}  // namespace leda::checkpoint
