#include "tests/support/file_faults/operation_log.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>

namespace leda::file_faults {
namespace {

// System calls by number: the functions of the C library are the ones that this library stands before.
int open_directly(const std::string& path, int flags) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path.c_str(), flags | O_CLOEXEC, 0644));
}

std::mutex& threads() {
  static std::mutex mutex;
  return mutex;
}

// One for the life of the process; -1 where no log is kept.
int log_descriptor(const FaultPlan& plan) {
  static const int descriptor =
      plan.log_path().empty() ? -1 : open_directly(plan.log_path(), O_WRONLY | O_CREAT | O_APPEND);
  return descriptor;
}

std::string cut_path(const FaultPlan& plan) { return plan.log_path() + ".cut"; }

void append_all(int descriptor, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const long count = syscall(SYS_write, descriptor, bytes.data(), bytes.size());
    if (count <= 0) {
      std::fprintf(stderr, "file faults: the log cannot be written\n");
      std::abort();
    }
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

}  // namespace

LockedLog::LockedLog(const FaultPlan& plan) : plan_(plan) {
  threads().lock();
  const int descriptor = log_descriptor(plan_);
  if (descriptor < 0) return;
  while (flock(descriptor, LOCK_EX) != 0 && errno == EINTR) {
  }
  if (syscall(SYS_faccessat, AT_FDCWD, cut_path(plan_).c_str(), F_OK) == 0) kill(getpid(), SIGKILL);
}

LockedLog::~LockedLog() {
  if (const int descriptor = log_descriptor(plan_); descriptor >= 0) flock(descriptor, LOCK_UN);
  threads().unlock();
}

void LockedLog::append(std::string_view call, std::string_view path, const Operation& operation) const {
  const int descriptor = log_descriptor(plan_);
  if (descriptor < 0) return;
  std::string head = plan_.rank() + "\t" + std::string(call) + "\t" + std::string(path) + "\t" + operation.name;
  for (const std::string& field : operation.fields) head += "\t" + field;
  head += "\t" + std::to_string(operation.data.size()) + "\n";
  append_all(descriptor, std::as_bytes(std::span(head)));
  append_all(descriptor, operation.data);
}

void LockedLog::cut_power() const {
  const int descriptor = open_directly(cut_path(plan_), O_WRONLY | O_CREAT);
  if (descriptor >= 0) syscall(SYS_close, descriptor);
}

}  // namespace leda::file_faults
