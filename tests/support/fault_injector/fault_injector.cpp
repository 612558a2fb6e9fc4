// Faults from outside the program: a library for LD_PRELOAD that stands before a few MPI and file functions and, where
// told, does something bad at one call of one rank. The program under test has no hooks for it.
//
// LEDA_FAULT, words with blanks between them:
//   rank=R call=FUNCTION number=K   at the K-th (from 1) of rank R's calls of FUNCTION that pass the filters
//   type=float|double|int64|byte    filter: MPI calls with elements of this type
//   path=TEXT                       filter: file calls on a file whose path contains TEXT
//   text=TEXT                       filter: writes whose data contains TEXT
//   from=TEXT                       calls count once the rank has written data that contains TEXT
//   kind=kill|stop|segv|exit|_exit|silent   ends or stops the process (exit: exit(0); _exit: _exit(3))
//        usr1|usr2|int|term                 sends the process that signal, and makes the call
//        error|throw|skip|count|delay       fails the call, throws, leaves it out, halves its count, comes 1 s late
//        nan                                MPI_Iallreduce of float or double: the rank's first value becomes a NaN
//   when=before|after (before)      kill to term only: on which side of the call
//   after_ms=N                      kill, stop, segv only: so many milliseconds later, from another thread
// LEDA_FAULT_TRACE=PATH: every call of rank R is appended to PATH.R as FUNCTION, type, count, path with tabs between.
#include <dlfcn.h>
#include <fcntl.h>
#include <mpi.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

namespace {

struct Plan {
  bool is_for_this_rank = false;
  std::string call, type, path, text, from, kind;
  long number = 0;
  long after_ms = -1;
  bool is_after = false;
  std::string trace;
};

Plan read_plan() {
  Plan plan;
  const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
  const std::string own_rank = rank != nullptr ? rank : "0";
  if (const char* trace = std::getenv("LEDA_FAULT_TRACE")) plan.trace = std::string(trace) + "." + own_rank;
  const char* text = std::getenv("LEDA_FAULT");
  std::istringstream words(text != nullptr ? text : "");
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string name = word.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (name == "rank") plan.is_for_this_rank = value == own_rank;
    if (name == "call") plan.call = value;
    if (name == "type") plan.type = value;
    if (name == "path") plan.path = value;
    if (name == "text") plan.text = value;
    if (name == "from") plan.from = value;
    if (name == "kind") plan.kind = value;
    if (name == "number") plan.number = std::atol(value.c_str());
    if (name == "after_ms") plan.after_ms = std::atol(value.c_str());
    if (name == "when") plan.is_after = value == "after";
  }
  return plan;
}

const Plan& plan() {
  static const Plan read_once = read_plan();
  return read_once;
}

struct Call {
  const char* name = "";
  std::string type;
  long count = 0;
  std::string path;
  std::string_view text{};  // what is written
  void* values = nullptr;   // this rank's, of a sum
};

void trace(const Call& call) {
  if (plan().trace.empty()) return;
  const std::string line =
      std::string(call.name) + "\t" + call.type + "\t" + std::to_string(call.count) + "\t" + call.path + "\n";
  const int file = open(plan().trace.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (file < 0) return;
  static const auto next_write = reinterpret_cast<ssize_t (*)(int, const void*, size_t)>(dlsym(RTLD_NEXT, "write"));
  static_cast<void>(next_write(file, line.data(), line.size()));
  close(file);
}

bool is_the_one(const Call& call) {
  static std::atomic<long> num_seen{0};
  static std::atomic<bool> is_awaited{true};
  const Plan& wanted = plan();
  const bool is_counted = wanted.from.empty() || !is_awaited;
  if (!wanted.from.empty() && call.text.find(wanted.from) != std::string_view::npos) is_awaited = false;
  if (!is_counted) return false;
  if (!wanted.is_for_this_rank || wanted.call != call.name) return false;
  if (!wanted.type.empty() && wanted.type != call.type) return false;
  if (!wanted.path.empty() && call.path.find(wanted.path) == std::string::npos) return false;
  if (!wanted.text.empty() && call.text.find(wanted.text) == std::string_view::npos) return false;
  return ++num_seen == wanted.number;
}

const std::map<std::string, int> kSignals{{"usr1", SIGUSR1}, {"usr2", SIGUSR2}, {"int", SIGINT}, {"term", SIGTERM}};

bool is_signal(const std::string& kind) { return kSignals.count(kind) > 0; }

void strike(const std::string& kind) {
  if (kind == "kill") kill(getpid(), SIGKILL);
  if (kind == "stop") kill(getpid(), SIGSTOP);
  if (kind == "segv") {
    std::signal(SIGSEGV, SIG_DFL);
    kill(getpid(), SIGSEGV);
  }
  if (kind == "exit") std::exit(0);
  if (kind == "_exit") _exit(3);
  if (kind == "silent") std::this_thread::sleep_for(std::chrono::hours(1));
  if (is_signal(kind)) kill(getpid(), kSignals.at(kind));
}

bool is_strike(const std::string& kind) {
  return kind == "kill" || kind == "stop" || kind == "segv" || kind == "exit" || kind == "_exit" || kind == "silent" ||
         is_signal(kind);
}

// Of one rank alone, before the sum: after it, all ranks have it.
void spoil(const Call& call) {
  if (call.count == 0 || call.values == nullptr) return;
  if (call.type == "float") *static_cast<float*>(call.values) = std::numeric_limits<float>::quiet_NaN();
  if (call.type == "double") *static_cast<double*>(call.values) = std::numeric_limits<double>::quiet_NaN();
}

// `go(count)` makes the real call; `failure` is what a failed one returns.
template <typename Result, typename Go>
Result intercept(const Call& call, Result failure, Result success, const Go& go) {
  trace(call);
  if (!is_the_one(call)) return go(call.count);
  const Plan& wanted = plan();
  std::fprintf(stderr, "fault injector: %s at call %ld of %s\n", wanted.kind.c_str(), wanted.number, call.name);
  if (wanted.after_ms >= 0) {
    std::thread([kind = wanted.kind, ms = wanted.after_ms] {
      std::this_thread::sleep_for(std::chrono::milliseconds(ms));
      strike(kind);
    }).detach();
    return go(call.count);
  }
  if (is_strike(wanted.kind)) {
    if (!wanted.is_after) strike(wanted.kind);
    const Result result = go(call.count);
    if (wanted.is_after) strike(wanted.kind);
    return result;
  }
  if (wanted.kind == "throw") throw std::runtime_error("a fault was injected");
  if (wanted.kind == "skip") return success;
  if (wanted.kind == "count") return go(call.count / 2);
  if (wanted.kind == "nan") spoil(call);
  if (wanted.kind == "delay") std::this_thread::sleep_for(std::chrono::seconds(1));
  if (wanted.kind == "error") {
    errno = EIO;
    return failure;
  }
  return go(call.count);
}

template <typename Go>
int intercept_mpi(const Call& call, const Go& go) {
  return intercept<int>(call, MPI_ERR_OTHER, MPI_SUCCESS, go);
}

std::string type_name(MPI_Datatype type) {
  if (type == MPI_FLOAT) return "float";
  if (type == MPI_DOUBLE) return "double";
  if (type == MPI_INT64_T) return "int64";
  if (type == MPI_BYTE) return "byte";
  return "other";
}

std::string path_of(int descriptor) {
  char path[4096] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
  return readlink(link.c_str(), path, sizeof path - 1) > 0 ? path : "";
}

bool is_file(int descriptor) {
  struct stat facts {};
  return fstat(descriptor, &facts) == 0 && S_ISREG(facts.st_mode);
}

template <typename Function>
Function next_function(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" {

int MPI_Init_thread(int* argc, char*** argv, int required, int* provided) {
  return intercept_mpi({.name = "MPI_Init_thread"},
                       [&](long) { return PMPI_Init_thread(argc, argv, required, provided); });
}

int MPI_Finalize() {
  return intercept_mpi({.name = "MPI_Finalize"}, [](long) { return PMPI_Finalize(); });
}

int MPI_Comm_dup(MPI_Comm from, MPI_Comm* to) {
  return intercept_mpi({.name = "MPI_Comm_dup"}, [&](long) { return PMPI_Comm_dup(from, to); });
}

int MPI_Barrier(MPI_Comm communicator) {
  return intercept_mpi({.name = "MPI_Barrier"}, [&](long) { return PMPI_Barrier(communicator); });
}

int MPI_Bcast(void* data, int count, MPI_Datatype type, int root, MPI_Comm communicator) {
  return intercept_mpi({.name = "MPI_Bcast", .type = type_name(type), .count = count}, [&](long number) {
    return PMPI_Bcast(data, static_cast<int>(number), type, root, communicator);
  });
}

int MPI_Iallreduce(const void* sent, void* received, int count, MPI_Datatype type, MPI_Op operation,
                   MPI_Comm communicator, MPI_Request* request) {
  *request = MPI_REQUEST_NULL;
  void* values = sent == MPI_IN_PLACE ? received : const_cast<void*>(sent);
  const Call call{
      .name = "MPI_Iallreduce", .type = type_name(type), .count = count, .path = {}, .text = {}, .values = values};
  return intercept_mpi(call, [&](long number) {
    return PMPI_Iallreduce(sent, received, static_cast<int>(number), type, operation, communicator, request);
  });
}

int MPI_Iallgather(const void* sent, int sent_count, MPI_Datatype sent_type, void* received, int received_count,
                   MPI_Datatype received_type, MPI_Comm communicator, MPI_Request* request) {
  *request = MPI_REQUEST_NULL;
  return intercept_mpi({.name = "MPI_Iallgather", .type = type_name(sent_type), .count = sent_count}, [&](long) {
    return PMPI_Iallgather(sent, sent_count, sent_type, received, received_count, received_type, communicator, request);
  });
}

int MPI_Waitall(int count, MPI_Request* requests, MPI_Status* statuses) {
  return intercept_mpi({.name = "MPI_Waitall", .count = count},
                       [&](long) { return PMPI_Waitall(count, requests, statuses); });
}

ssize_t pread(int descriptor, void* data, size_t size, off_t offset) {
  static const auto next = next_function<ssize_t (*)(int, void*, size_t, off_t)>("pread");
  const Call call{.name = "pread", .type = {}, .count = static_cast<long>(size), .path = path_of(descriptor)};
  return intercept<ssize_t>(call, -1, 0, [&](long) { return next(descriptor, data, size, offset); });
}

ssize_t pread64(int descriptor, void* data, size_t size, off64_t offset) {
  return pread(descriptor, data, size, offset);
}

// Sockets and pipes are MPI's own.
ssize_t write(int descriptor, const void* data, size_t size) {
  static const auto next = next_function<ssize_t (*)(int, const void*, size_t)>("write");
  if (!is_file(descriptor)) return next(descriptor, data, size);
  const Call call{.name = "write",
                  .type = {},
                  .count = static_cast<long>(size),
                  .path = path_of(descriptor),
                  .text = {static_cast<const char*>(data), size}};
  return intercept<ssize_t>(call, -1, static_cast<ssize_t>(size), [&](long) { return next(descriptor, data, size); });
}

int fsync(int descriptor) {
  static const auto next = next_function<int (*)(int)>("fsync");
  const Call call{.name = "fsync", .type = {}, .count = 0, .path = path_of(descriptor)};
  return intercept<int>(call, -1, 0, [&](long) { return next(descriptor); });
}

int rename(const char* from, const char* to) noexcept {
  static const auto next = next_function<int (*)(const char*, const char*)>("rename");
  const Call call{.name = "rename", .type = {}, .count = 0, .path = to};
  return intercept<int>(call, -1, 0, [&](long) { return next(from, to); });
}

}  // extern "C"
