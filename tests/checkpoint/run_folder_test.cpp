#include "checkpoint/run_folder.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.hpp"
#include "tests/checkpoint/small_checkpoint.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;
using test::KeptConsole;
using test::TemporaryFolder;

std::optional<base::Error> refusal(const fs::path& run_folder) {
  KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  return test::thrown_error([&] { const RunFolderLock lock(run_folder, communicator, kept.console()); });
}

// What the console says when the lock is taken.
std::string said_when_taken(const fs::path& run_folder) {
  KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  const RunFolderLock lock(run_folder, communicator, kept.console());
  return kept.text();
}

// A process that holds the lock until it is killed.
class Holder {
 public:
  explicit Holder(const fs::path& run_folder) {
    int ends[2];
    if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
    child_ = fork();
    if (child_ == 0) {
      setenv("SLURM_JOB_ID", "4711", 1);
      KeptConsole kept;
      distributed::SingleProcessCommunicator communicator;
      const RunFolderLock lock(run_folder, communicator, kept.console());
      if (write(ends[1], "x", 1) != 1) _exit(1);
      for (;;) pause();
    }
    close(ends[1]);
    char ready = 0;
    is_ready_ = read(ends[0], &ready, 1) == 1;
    close(ends[0]);
  }
  ~Holder() { stop(); }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  pid_t process() const { return child_; }
  bool is_ready() const { return is_ready_; }
  void stop() {
    if (child_ <= 0) return;
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
    child_ = -1;
  }

 private:
  pid_t child_ = -1;
  bool is_ready_ = false;
};

TEST(RunFolderLock, ASecondRunIsRefusedNamingTheFirst) {
  const TemporaryFolder folder;
  const fs::path run = folder.path() / "runs" / "one";
  const Holder holder(run);
  ASSERT_TRUE(holder.is_ready());
  const auto error = refusal(run);
  ASSERT_TRUE(error);
  EXPECT_EQ(error->exit_code(), base::ExitCode::storage);
  char host[256] = {};
  gethostname(host, sizeof host - 1);
  EXPECT_NE(error->text().what.find(run.string()), std::string::npos);
  for (const std::string& part : {std::to_string(holder.process()), std::string(host), std::string("job 4711")}) {
    EXPECT_NE(error->text().value.find(part), std::string::npos) << error->what();
  }
  EXPECT_NE(error->text().remedy.find("--new-run"), std::string::npos);
}

TEST(RunFolderLock, AKilledRunsLockIsTakenOverAndThatIsSaid) {
  const TemporaryFolder folder;
  Holder holder(folder.path());
  ASSERT_TRUE(holder.is_ready());
  const std::string process = std::to_string(holder.process());
  holder.stop();
  const std::string said = said_when_taken(folder.path());
  EXPECT_NE(said.find("stale"), std::string::npos) << said;
  EXPECT_NE(said.find(process), std::string::npos) << said;
}

TEST(RunFolderLock, ALockReleasedInOrderIsTakenSilently) {
  const TemporaryFolder folder;
  EXPECT_EQ(said_when_taken(folder.path()), "");
  EXPECT_EQ(said_when_taken(folder.path()), "");
}

TEST(RunFolderLock, AnyTextInAFreeLockIsStale) {
  const TemporaryFolder folder;
  storage::write_file_durably(folder.path() / "lock.json", "{half a te");
  EXPECT_NE(said_when_taken(folder.path()).find("stale"), std::string::npos);
}

TEST(RunFolderLock, SaysWhoHoldsIt) {
  const TemporaryFolder folder;
  KeptConsole kept;
  distributed::SingleProcessCommunicator communicator;
  const RunFolderLock lock(folder.path(), communicator, kept.console());
  const auto object = nlohmann::json::parse(storage::read_text_file(folder.path() / "lock.json"));
  EXPECT_EQ(object.at("process_id"), getpid());
  EXPECT_TRUE(object.contains("host") && object.contains("job_id") && object.contains("started"));
}

TEST(RunFolderLock, AFolderThatCannotBeThereIsAStorageErrorOnEveryRank) {
  const TemporaryFolder folder;
  storage::write_file_durably(folder.path() / "taken", "a file");
  for (const char* name : {"taken", "taken/below"}) {
    const auto error = refusal(folder.path() / name);
    ASSERT_TRUE(error);
    EXPECT_EQ(error->exit_code(), base::ExitCode::storage);
    EXPECT_NE(error->text().what.find("taken"), std::string::npos);
  }
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    KeptConsole kept(communicator.rank());
    const auto take = [&] { const RunFolderLock lock(folder.path() / "taken", communicator, kept.console()); };
    EXPECT_THROW(take(), base::ErrorOnAllRanks);
  });
}

TEST(RunFolderLock, ReadOnlyFoldersAreRefusedForThoseWhoMayNotWrite) {
  const TemporaryFolder folder;
  chmod(folder.path().c_str(), 0555);
  const pid_t child = fork();
  if (child == 0) {
    // Root may write anywhere: the child becomes somebody else.
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(0);
    const auto error = refusal(folder.path() / "run");
    _exit(error && error->exit_code() == base::ExitCode::storage ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  chmod(folder.path().c_str(), 0755);
}

std::string chosen(const fs::path& base, bool new_run) {
  distributed::SingleProcessCommunicator communicator;
  return choose_run_folder(base, new_run, communicator).string();
}

TEST(ChooseRunFolder, TakesTheNewestOrTheNextFreeNumber) {
  const TemporaryFolder folder;
  const fs::path base = folder.path() / "runs" / "quick";
  EXPECT_EQ(chosen(base, false), base.string());
  EXPECT_EQ(chosen(base, true), base.string());
  fs::create_directories(base);
  EXPECT_EQ(chosen(base, false), base.string());
  EXPECT_EQ(chosen(base, true), base.string() + "-2");
  // Neither names that only look alike nor gaps confuse it, and 10 comes after 9.
  for (const char* name : {"quick-9", "quick-10", "quick-x", "quick-007", "quick-11b", "quick-", "quicker-12"}) {
    fs::create_directories(folder.path() / "runs" / name);
  }
  EXPECT_EQ(chosen(base, false), base.string() + "-10");
  EXPECT_EQ(chosen(base, true), base.string() + "-11");
  EXPECT_EQ(chosen(base.string() + "/", true), base.string() + "-11");
}

TEST(ChooseRunFolder, EveryRankGetsRankZerosAnswer) {
  const TemporaryFolder folder;
  fs::create_directories(folder.path() / "run-4");
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    EXPECT_EQ(choose_run_folder(folder.path() / "run", true, communicator), folder.path() / "run-5");
  });
}

}  // namespace
}  // namespace leda::checkpoint
