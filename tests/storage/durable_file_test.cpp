#include "storage/durable_file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <functional>
#include <string>
#include <thread>

#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::storage {
namespace {

namespace fs = std::filesystem;

void expect_storage_error(const std::function<void()>& work, const std::string& file, const std::string& reason) {
  SCOPED_TRACE(file);
  const base::Error error = test::refusal_of(base::ExitCode::storage, work);
  EXPECT_NE(error.text().what.find(file), std::string::npos) << error.what();
  EXPECT_NE(error.text().value.find(reason), std::string::npos) << error.what();
  EXPECT_NE(error.text().value.find("bytes free"), std::string::npos) << error.what();
  EXPECT_FALSE(error.text().remedy.empty());
}

std::size_t num_entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

TEST(DurableFile, IsReplacedAsAWholeAndLeavesNothingBeside) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file.json";
  write_file_durably(path, "first, and longer than the second");
  const std::string second = std::string("second\0with a zero", 18);
  write_file_durably(path, second);
  EXPECT_EQ(read_text_file(path), second);
  EXPECT_EQ(num_entries(folder.path()), 1U);
}

TEST(DurableFile, OldBytesStayWhereTheNewOnesDoNotFit) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "file.json";
  write_file_durably(path, "old");
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{5000, 5000};
    setrlimit(RLIMIT_FSIZE, &limit);
    const auto error = test::thrown_error([&] { write_file_durably(path, std::string(20000, 'n')); });
    if (!error) _exit(1);
    const bool is_right = error->exit_code() == base::ExitCode::storage &&
                          error->text().what.find("file.json") != std::string::npos &&
                          error->text().remedy.find("ulimit -f") != std::string::npos;
    _exit(is_right ? 0 : 2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_text_file(path), "old");
  EXPECT_EQ(num_entries(folder.path()), 1U);
}

TEST(DurableFile, FullDeviceIsAStorageErrorWithItsReason) {
  FileWriter writer("/dev/full");
  expect_storage_error([&] { writer.write(std::string_view("text")); }, "/dev/full", "No space left");
}

TEST(DurableFile, MissingFolderAndFolderInTheWayAreStorageErrors) {
  const test::TemporaryFolder folder;
  const fs::path orphan = folder.path() / "missing" / "file";
  expect_storage_error([&] { write_file_durably(orphan, "x"); }, "missing", "No such file");
  fs::create_directories(folder.path() / "taken" / "inside");
  expect_storage_error([&] { write_file_durably(folder.path() / "taken", "x"); }, "taken", "directory");
  EXPECT_EQ(num_entries(folder.path()), 1U);
  expect_storage_error([&] { sync_file(folder.path() / "absent"); }, "absent", "No such file");
}

TEST(DurableFile, ReadingAMissingFileIsADataError) {
  const base::Error error = test::refusal_of(base::ExitCode::data, [] { read_text_file("/nowhere/file"); });
  EXPECT_NE(error.text().what.find("/nowhere/file"), std::string::npos);
}

TEST(DurableFile, FreeBytesOfAPathNotYetThereAreThoseOfItsFolder) {
  const test::TemporaryFolder folder;
  EXPECT_GT(free_bytes(folder.path() / "not" / "yet"), 0U);
}

extern "C" void ignore_alarm(int) {}

// A pipe with a slow reader and a timer whose signals interrupt write(2): short writes and EINTR, hundreds of them.
TEST(DurableFile, WritesEverythingThroughInterruptionsAndShortWrites) {
  const test::TemporaryFolder folder;
  const fs::path path = folder.path() / "pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  std::string sent(4U << 20, '\0');
  for (std::size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 >> 3);

  struct sigaction action {};
  action.sa_handler = ignore_alarm;  // without SA_RESTART
  struct sigaction before {};
  sigaction(SIGALRM, &action, &before);
  std::string received;
  std::thread reader([&] {
    sigset_t blocked;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &blocked, nullptr);
    const int descriptor = open(path.c_str(), O_RDONLY);
    char buffer[70001];
    for (ssize_t count = 0; (count = read(descriptor, buffer, sizeof buffer)) > 0;) {
      received.append(buffer, static_cast<std::size_t>(count));
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    close(descriptor);
  });
  {
    FileWriter writer(path);
    const itimerval every_millisecond{{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &every_millisecond, nullptr);
    writer.write(sent);
    const itimerval off{};
    setitimer(ITIMER_REAL, &off, nullptr);
  }
  reader.join();
  sigaction(SIGALRM, &before, nullptr);
  EXPECT_TRUE(received == sent);
}

TEST(DurableFile, WriterSaysWhatItWrote) {
  const test::TemporaryFolder folder;
  FileWriter writer(folder.path() / "file");
  writer.write(std::string_view("one "));
  writer.write(std::string_view("two"));
  const WrittenFile written = writer.close();
  EXPECT_EQ(written.num_bytes, 7U);
  EXPECT_EQ(written.checksum, file_checksum(folder.path() / "file"));
}

}  // namespace
}  // namespace leda::storage
