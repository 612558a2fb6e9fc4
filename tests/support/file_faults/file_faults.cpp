// Kill -9 and power loss from outside the program: a library for LD_PRELOAD that stands before the functions that
// change files below one folder. It counts them, ends the process at a chosen one, and keeps a journal from which
// tests/campaigns/disk_model.py makes what a disk would show after a power loss at that point.
//
// LEDA_FILE_FAULTS, words with blanks between them:
//   folder=PATH     what is watched: everything below it; absolute, without symbolic links
//   log=PATH        the journal, of all processes of the job; elsewhere
//   rank=R call=FUNCTION path=P number=K   at the K-th (from 1) of rank R's calls of FUNCTION on P, the path below
//                   `folder` as named() writes it (fault_plan.hpp)
//   when=before|half|after (before)        on which side of the call, or after half of the bytes of a write
//   kind=kill       kill -9 of this process
//        power      the same, and no process of the job does anything to the files from then on; needs log=
//        usr1|term  the signal, and the call goes on
//
// Files written through mmap, copy_file_range, sendfile, O_TMPFILE or links are not followed: where the program tries
// one, the journal says "unknown", which its reader refuses. What takes a way that is not seen at all (the C library's
// own buffered files, io_uring) shows in the comparison of the replayed journal with the folder.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/file_faults/operation_log.hpp"

namespace {

using leda::file_faults::FaultPlan;
using leda::file_faults::LockedLog;
using leda::file_faults::Moment;
using leda::file_faults::Operation;

FaultPlan& plan() {
  static FaultPlan read_once;
  return read_once;
}

template <typename Function>
Function next_function(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

std::string path_of(int descriptor) {
  char path[4096] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  return readlink(link.c_str(), path, sizeof path - 1) > 0 ? path : "";
}

// Below the watched folder; "" elsewhere.
std::string watched_path(int folder, const char* path) {
  if (!plan().is_watching() || path == nullptr) return "";
  std::filesystem::path whole = path;
  if (whole.is_relative()) {
    char working[4096] = {};
    const char* above = getcwd(working, sizeof working);
    whole = std::filesystem::path(folder == AT_FDCWD ? (above != nullptr ? above : "") : path_of(folder)) / whole;
  }
  return plan().relative(whole.lexically_normal().string());
}

// The watched folder itself counts: its fsync makes the names in it durable.
std::string watched_path(int descriptor) {
  if (!plan().is_watching()) return "";
  const std::string path = path_of(descriptor);
  const std::string below = plan().relative(path);
  return below.empty() && !plan().relative(path + "/x").empty() ? "." : below;
}

std::string inode_of(int descriptor) {
  struct stat facts {};
  fstat(descriptor, &facts);
  return std::to_string(facts.st_ino);
}

std::string inode_of(int folder, const char* path) {
  struct stat facts {};
  return fstatat(folder, path, &facts, AT_SYMLINK_NOFOLLOW) == 0 ? std::to_string(facts.st_ino) : "";
}

void strike(const LockedLog& log, const char* call, const std::string& name) {
  if (plan().cuts_power()) log.cut_power();
  plan().strike(call, name);
}

// `go(is_half)` makes the real call; `describe(result)` says what it did, when it succeeded.
template <typename Go, typename Describe>
auto watch(const char* call, const std::string& path, const Go& go, const Describe& describe) {
  const std::string name = leda::file_faults::named(path);
  const LockedLog log(plan());
  const Moment moment = plan().moment_of(call, name);
  if (moment == Moment::before) strike(log, call, name);
  const auto result = go(moment == Moment::half);
  const int error_number = errno;
  log.append(call, name, describe(result));
  if (moment == Moment::half || moment == Moment::after) strike(log, call, name);
  errno = error_number;
  return result;
}

bool may_change(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC)) != 0; }

template <typename Go>
int watch_open(const char* call, int folder, const char* path, int flags, const Go& go) {
  const std::string below = may_change(flags) ? watched_path(folder, path) : "";
  if (below.empty()) return go(false);
  std::string before;
  return watch(
      call, below,
      [&](bool) {
        before = inode_of(folder, path);
        return go(false);
      },
      [&](int result) -> Operation {
        if (result < 0) return {};
        if ((flags & O_TMPFILE) == O_TMPFILE) return {.name = "unknown", .fields = {"O_TMPFILE"}, .data = {}};
        if (before.empty()) return {.name = "create", .fields = {below, inode_of(result)}, .data = {}};
        if ((flags & O_TRUNC) != 0) return {.name = "truncate", .fields = {inode_of(result), "0"}, .data = {}};
        return {};
      });
}

// Of `count` bytes at `data`, at `offset` or, where that is -1, at the file's position.
template <typename Go>
ssize_t watch_write(const char* call, int descriptor, const void* data, size_t count, off_t offset, const Go& go) {
  const std::string below = watched_path(descriptor);
  if (below.empty()) return go(count);
  return watch(
      call, below, [&](bool is_half) { return go(is_half ? count / 2 : count); },
      [&](ssize_t result) -> Operation {
        if (result <= 0) return {};
        const off_t begin = offset >= 0 ? offset : lseek(descriptor, 0, SEEK_CUR) - result;
        return {.name = "write",
                .fields = {inode_of(descriptor), std::to_string(begin)},
                .data = {static_cast<const std::byte*>(data), static_cast<std::size_t>(result)}};
      });
}

// One write where there were several pieces: the file sees no difference.
std::vector<char> joined(const iovec* pieces, int count) {
  std::vector<char> bytes;
  for (int i = 0; i < count; ++i) {
    const char* begin = static_cast<const char*>(pieces[i].iov_base);
    bytes.insert(bytes.end(), begin, begin + pieces[i].iov_len);
  }
  return bytes;
}

template <typename Go>
int watch_descriptor(const char* call, int descriptor, const Go& go, const char* operation,
                     const std::string& extra = "") {
  const std::string below = watched_path(descriptor);
  if (below.empty()) return go(false);
  const std::string inode = inode_of(descriptor);
  return watch(call, below, go, [&](int result) -> Operation {
    if (result != 0) return {};
    Operation done{.name = operation, .fields = {}, .data = {}};
    if (done.name != "none") done.fields.push_back(inode);
    if (!extra.empty()) done.fields.push_back(extra);
    return done;
  });
}

template <typename Go>
int watch_names(const char* call, const std::string& path, const Operation& done, const Go& go) {
  if (path.empty()) return go(false);
  return watch(call, path, go, [&](int result) { return result == 0 ? done : Operation{}; });
}

template <typename Go>
int watch_mkdir(const char* call, int folder, const char* path, const Go& go) {
  const std::string below = watched_path(folder, path);
  if (below.empty()) return go(false);
  return watch(call, below, go, [&](int result) -> Operation {
    if (result != 0) return {};
    return {.name = "mkdir", .fields = {below, inode_of(folder, path)}, .data = {}};
  });
}

template <typename Go>
int watch_rename(const char* call, int from_folder, const char* from, int to_folder, const char* to, const Go& go) {
  const std::string old_path = watched_path(from_folder, from);
  const std::string new_path = watched_path(to_folder, to);
  const bool crosses = old_path.empty() != new_path.empty();
  const Operation done{.name = crosses ? "unknown" : "rename", .fields = {old_path, new_path}, .data = {}};
  return watch_names(call, new_path.empty() ? old_path : new_path, done, go);
}

template <typename Go>
int watch_removal(const char* call, int folder, const char* path, const char* operation, const Go& go) {
  const std::string below = watched_path(folder, path);
  return watch_names(call, below, {.name = operation, .fields = {below}, .data = {}}, go);
}

// What the journal cannot follow, on a file that is watched.
template <typename Go>
auto watch_unknown(const char* call, const std::string& path, const Go& go) {
  if (path.empty()) return go();
  return watch(
      call, path, [&](bool) { return go(); },
      [&](auto) { return Operation{.name = "unknown", .fields = {call}, .data = {}}; });
}

mode_t mode_argument(int flags, va_list arguments) {
  return (flags & (O_CREAT | O_TMPFILE)) != 0 ? static_cast<mode_t>(va_arg(arguments, int)) : 0;
}

int open_flags(const char* mode) {
  const int access = std::strchr(mode, '+') != nullptr ? O_RDWR : O_WRONLY;
  if (mode[0] == 'w') return access | O_CREAT | O_TRUNC;
  if (mode[0] == 'a') return access | O_CREAT | O_APPEND;
  return access == O_RDWR ? O_RDWR : O_RDONLY;
}

// The C library's streams are opened here; std::ofstream writes with write and writev, which are seen.
std::FILE* open_stream(const char* name, const char* path, const char* mode) {
  const auto next = next_function<std::FILE* (*)(const char*, const char*)>(name);
  std::FILE* stream = nullptr;
  watch_open(name, AT_FDCWD, path, open_flags(mode), [&](bool) {
    stream = next(path, mode);
    return stream != nullptr ? fileno(stream) : -1;
  });
  return stream;
}

}  // namespace

extern "C" {

int open(const char* path, int flags, ...) {
  static const auto next = next_function<int (*)(const char*, int, mode_t)>("open");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_argument(flags, arguments);
  va_end(arguments);
  return watch_open("open", AT_FDCWD, path, flags, [&](bool) { return next(path, flags, mode); });
}

int open64(const char* path, int flags, ...) {
  static const auto next = next_function<int (*)(const char*, int, mode_t)>("open64");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_argument(flags, arguments);
  va_end(arguments);
  return watch_open("open", AT_FDCWD, path, flags, [&](bool) { return next(path, flags, mode); });
}

int openat(int folder, const char* path, int flags, ...) {
  static const auto next = next_function<int (*)(int, const char*, int, mode_t)>("openat");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_argument(flags, arguments);
  va_end(arguments);
  return watch_open("openat", folder, path, flags, [&](bool) { return next(folder, path, flags, mode); });
}

int openat64(int folder, const char* path, int flags, ...) {
  static const auto next = next_function<int (*)(int, const char*, int, mode_t)>("openat64");
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = mode_argument(flags, arguments);
  va_end(arguments);
  return watch_open("openat", folder, path, flags, [&](bool) { return next(folder, path, flags, mode); });
}

int creat(const char* path, mode_t mode) { return open(path, O_WRONLY | O_CREAT | O_TRUNC, mode); }

std::FILE* fopen(const char* path, const char* mode) { return open_stream("fopen", path, mode); }
std::FILE* fopen64(const char* path, const char* mode) { return open_stream("fopen64", path, mode); }

int fclose(std::FILE* stream) {
  static const auto next = next_function<int (*)(std::FILE*)>("fclose");
  return watch_descriptor(
      "fclose", fileno(stream), [&](bool) { return next(stream); }, "none");
}

int close(int descriptor) {
  static const auto next = next_function<int (*)(int)>("close");
  struct stat facts {};
  // What was only read is not of interest, and folders are opened for reading alone.
  const bool is_written = plan().is_watching() && fstat(descriptor, &facts) == 0 && S_ISREG(facts.st_mode) &&
                          may_change(fcntl(descriptor, F_GETFL));
  if (!is_written) return next(descriptor);
  return watch_descriptor(
      "close", descriptor, [&](bool) { return next(descriptor); }, "none");
}

ssize_t write(int descriptor, const void* data, size_t count) {
  static const auto next = next_function<ssize_t (*)(int, const void*, size_t)>("write");
  return watch_write("write", descriptor, data, count, -1,
                     [&](size_t number) { return next(descriptor, data, number); });
}

ssize_t writev(int descriptor, const iovec* pieces, int count) {
  static const auto next = next_function<ssize_t (*)(int, const iovec*, int)>("writev");
  if (watched_path(descriptor).empty()) return next(descriptor, pieces, count);
  const std::vector<char> bytes = joined(pieces, count);
  return write(descriptor, bytes.data(), bytes.size());
}

ssize_t pwrite(int descriptor, const void* data, size_t count, off_t offset) {
  static const auto next = next_function<ssize_t (*)(int, const void*, size_t, off_t)>("pwrite");
  return watch_write("pwrite", descriptor, data, count, offset,
                     [&](size_t number) { return next(descriptor, data, number, offset); });
}

ssize_t pwrite64(int descriptor, const void* data, size_t count, off64_t offset) {
  return pwrite(descriptor, data, count, offset);
}

ssize_t pwritev(int descriptor, const iovec* pieces, int count, off_t offset) {
  static const auto next = next_function<ssize_t (*)(int, const iovec*, int, off_t)>("pwritev");
  if (watched_path(descriptor).empty()) return next(descriptor, pieces, count, offset);
  const std::vector<char> bytes = joined(pieces, count);
  return pwrite(descriptor, bytes.data(), bytes.size(), offset);
}

ssize_t pwritev64(int descriptor, const iovec* pieces, int count, off64_t offset) {
  return pwritev(descriptor, pieces, count, offset);
}

int fsync(int descriptor) {
  static const auto next = next_function<int (*)(int)>("fsync");
  return watch_descriptor(
      "fsync", descriptor, [&](bool) { return next(descriptor); }, "sync");
}

int fdatasync(int descriptor) {
  static const auto next = next_function<int (*)(int)>("fdatasync");
  return watch_descriptor(
      "fdatasync", descriptor, [&](bool) { return next(descriptor); }, "sync");
}

int ftruncate(int descriptor, off_t size) noexcept {
  static const auto next = next_function<int (*)(int, off_t)>("ftruncate");
  return watch_descriptor(
      "ftruncate", descriptor, [&](bool) { return next(descriptor, size); }, "truncate", std::to_string(size));
}

int ftruncate64(int descriptor, off64_t size) noexcept { return ftruncate(descriptor, size); }

int fallocate(int descriptor, int mode, off_t offset, off_t count) {
  static const auto next = next_function<int (*)(int, int, off_t, off_t)>("fallocate");
  const bool keeps_size = (mode & FALLOC_FL_KEEP_SIZE) != 0;
  return watch_descriptor(
      "fallocate", descriptor, [&](bool) { return next(descriptor, mode, offset, count); },
      keeps_size ? "none" : "extend", keeps_size ? "" : std::to_string(offset + count));
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t count) {
  return fallocate(descriptor, mode, offset, count);
}

int posix_fallocate(int descriptor, off_t offset, off_t count) {
  static const auto next = next_function<int (*)(int, off_t, off_t)>("posix_fallocate");
  return watch_descriptor(
      "posix_fallocate", descriptor, [&](bool) { return next(descriptor, offset, count); }, "extend",
      std::to_string(offset + count));
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t count) {
  return posix_fallocate(descriptor, offset, count);
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = next_function<int (*)(const char*, const char*)>("rename");
  return watch_rename("rename", AT_FDCWD, from, AT_FDCWD, to, [&](bool) { return next(from, to); });
}

int renameat(int from_folder, const char* from, int to_folder, const char* to) noexcept {
  static const auto next = next_function<int (*)(int, const char*, int, const char*)>("renameat");
  return watch_rename("renameat", from_folder, from, to_folder, to,
                      [&](bool) { return next(from_folder, from, to_folder, to); });
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) noexcept {
  static const auto next = next_function<int (*)(int, const char*, int, const char*, unsigned)>("renameat2");
  const auto go = [&](bool) { return next(from_folder, from, to_folder, to, flags); };
  if ((flags & RENAME_EXCHANGE) == 0) return watch_rename("renameat2", from_folder, from, to_folder, to, go);
  return watch_unknown("renameat2", watched_path(to_folder, to), [&] { return go(false); });
}

int unlink(const char* path) noexcept {
  static const auto next = next_function<int (*)(const char*)>("unlink");
  return watch_removal("unlink", AT_FDCWD, path, "unlink", [&](bool) { return next(path); });
}

int rmdir(const char* path) noexcept {
  static const auto next = next_function<int (*)(const char*)>("rmdir");
  return watch_removal("rmdir", AT_FDCWD, path, "rmdir", [&](bool) { return next(path); });
}

int unlinkat(int folder, const char* path, int flags) noexcept {
  static const auto next = next_function<int (*)(int, const char*, int)>("unlinkat");
  return watch_removal("unlinkat", folder, path, (flags & AT_REMOVEDIR) != 0 ? "rmdir" : "unlink",
                       [&](bool) { return next(folder, path, flags); });
}

int remove(const char* path) noexcept {
  static const auto next = next_function<int (*)(const char*)>("remove");
  struct stat facts {};
  const bool is_folder = lstat(path, &facts) == 0 && S_ISDIR(facts.st_mode);
  return watch_removal("remove", AT_FDCWD, path, is_folder ? "rmdir" : "unlink", [&](bool) { return next(path); });
}

int mkdir(const char* path, mode_t mode) noexcept {
  static const auto next = next_function<int (*)(const char*, mode_t)>("mkdir");
  return watch_mkdir("mkdir", AT_FDCWD, path, [&](bool) { return next(path, mode); });
}

int mkdirat(int folder, const char* path, mode_t mode) noexcept {
  static const auto next = next_function<int (*)(int, const char*, mode_t)>("mkdirat");
  return watch_mkdir("mkdirat", folder, path, [&](bool) { return next(folder, path, mode); });
}

int truncate(const char* path, off_t size) noexcept {
  static const auto next = next_function<int (*)(const char*, off_t)>("truncate");
  return watch_unknown("truncate", watched_path(AT_FDCWD, path), [&] { return next(path, size); });
}

int truncate64(const char* path, off64_t size) noexcept { return truncate(path, size); }

int link(const char* from, const char* to) noexcept {
  static const auto next = next_function<int (*)(const char*, const char*)>("link");
  return watch_unknown("link", watched_path(AT_FDCWD, to), [&] { return next(from, to); });
}

int linkat(int from_folder, const char* from, int to_folder, const char* to, int flags) noexcept {
  static const auto next = next_function<int (*)(int, const char*, int, const char*, int)>("linkat");
  return watch_unknown("linkat", watched_path(to_folder, to),
                       [&] { return next(from_folder, from, to_folder, to, flags); });
}

int symlink(const char* from, const char* to) noexcept {
  static const auto next = next_function<int (*)(const char*, const char*)>("symlink");
  return watch_unknown("symlink", watched_path(AT_FDCWD, to), [&] { return next(from, to); });
}

void* mmap(void* address, size_t count, int protection, int flags, int descriptor, off_t offset) noexcept {
  static const auto next = next_function<void* (*)(void*, size_t, int, int, int, off_t)>("mmap");
  const auto go = [&] { return next(address, count, protection, flags, descriptor, offset); };
  const bool is_written = descriptor >= 0 && (protection & PROT_WRITE) != 0 && (flags & MAP_SHARED) != 0;
  return is_written ? watch_unknown("mmap", watched_path(descriptor), go) : go();
}

void* mmap64(void* address, size_t count, int protection, int flags, int descriptor, off64_t offset) noexcept {
  return mmap(address, count, protection, flags, descriptor, offset);
}

ssize_t copy_file_range(int from, off64_t* from_offset, int to, off64_t* to_offset, size_t count, unsigned flags) {
  static const auto next =
      next_function<ssize_t (*)(int, off64_t*, int, off64_t*, size_t, unsigned)>("copy_file_range");
  return watch_unknown("copy_file_range", watched_path(to),
                       [&] { return next(from, from_offset, to, to_offset, count, flags); });
}

ssize_t sendfile(int to, int from, off_t* offset, size_t count) noexcept {
  static const auto next = next_function<ssize_t (*)(int, int, off_t*, size_t)>("sendfile");
  return watch_unknown("sendfile", watched_path(to), [&] { return next(to, from, offset, count); });
}

ssize_t sendfile64(int to, int from, off64_t* offset, size_t count) noexcept {
  return sendfile(to, from, offset, count);
}

}  // extern "C"
