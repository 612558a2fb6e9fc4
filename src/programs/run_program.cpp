#include "programs/run_program.hpp"

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "base/error.hpp"
#include "base/stop_signal.hpp"
#include "config/command_line.hpp"
#include "distributed/core/exit_deadline.hpp"
#include "distributed/mpi/make_communicator.hpp"
#include "distributed/mpi/mpi_session.hpp"

namespace leda::programs {
namespace {

using base::ExitCode;

// Ranks that fail alike do so within moments of each other.
constexpr double kSecondsToMeet = 2.0;

struct Failure {
  ExitCode exit_code = ExitCode::internal;
  std::string message;
  bool is_on_all_ranks = false;
};

// Only callable inside a catch block.
Failure current_failure() {
  try {
    throw;
  } catch (const base::ErrorOnAllRanks& error) {
    return {error.exit_code(), error.what(), true};
  } catch (const base::Error& error) {
    return {error.exit_code(), error.what(), false};
  } catch (const std::filesystem::filesystem_error& error) {
    return {ExitCode::storage,
            fmt::format("{}\n  what to try: check that the path exists and may be written", error.what()), false};
  } catch (const std::bad_alloc&) {
    return {ExitCode::internal,
            "out of memory\n  what to try: a smaller training.max_micro_batch, or fewer ranks on this host", false};
  } catch (const std::exception& error) {
    return {ExitCode::internal,
            fmt::format("unexpected: {}\n  what to try: report this with the command and its options", error.what()),
            false};
  }
}

// Not fmt::print, which throws where the log is on the full disk that the message is about.
void write_error(const std::string& message) {
  std::fputs(message.c_str(), stderr);
  std::fflush(stderr);
}

// exit() called from inside the program, by a library say, would end this rank with that library's code while the
// others wait for it; with code 0 launchers may even call it success.
class ExitGuard {
 public:
  explicit ExitGuard(std::string program_name) : state_(std::make_unique<State>(std::move(program_name)).release()) {
    on_exit(end_job, state_);
  }
  ~ExitGuard() { state_->is_inside = false; }
  ExitGuard(const ExitGuard&) = delete;
  ExitGuard& operator=(const ExitGuard&) = delete;

  void set_rank(int rank) const { state_->rank = rank; }

 private:
  struct State {
    explicit State(std::string name) : program_name(std::move(name)) {}
    std::string program_name;
    int rank = 0;
    bool is_inside = true;
  };

  static void end_job(int code, void* argument) {
    const auto* state = static_cast<const State*>(argument);
    if (!state->is_inside) return;
    write_error(
        fmt::format("{}: error on rank {}: exit({}) was called inside the program\n"
                    "  why it matters: the other ranks would wait for this one\n"
                    "  what to try: report this with the command and its options\n",
                    state->program_name, state->rank, code));
    distributed::end_all_ranks(static_cast<int>(ExitCode::internal));
  }

  State* state_;  // kept to the end of the process: the handler reads it after main has returned
};

std::unique_ptr<distributed::Communicator> connect(const distributed::MpiSession& session,
                                                   const std::string& program_name) {
  const distributed::ExitDeadline deadline(
      distributed::kSecondsToStart, static_cast<int>(ExitCode::communication),
      fmt::format("{}: error on rank {}: the ranks have not connected within {:.0f} s\n"
                  "  what to try: look whether all ranks run; start the same command again\n",
                  program_name, session.rank(), distributed::kSecondsToStart));
  return distributed::make_communicator(session);
}

// Without the destructors of libraries' statics: LibTorch alone takes a tenth of a second to sign off its operators.
[[noreturn]] void end_process(ExitCode code) {
  std::fflush(nullptr);
  _exit(static_cast<int>(code));
}

int core_count() {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
  return CPU_COUNT(&allowed);
}

}  // namespace

int set_threads(std::int64_t wanted, distributed::Communicator& communicator) {
  int threads = static_cast<int>(wanted);
  if (threads <= 0) {
    const int allowed = core_count();
    const int ranks = communicator.local_size();
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const bool has_own_cores = static_cast<long>(allowed) * ranks <= online;
    threads = std::max(1, has_own_cores ? allowed : allowed / ranks);
  }
  at::set_num_threads(threads);
  return threads;
}

void run_program(int argc, char** argv, const std::string& program_name, const ProgramBody& body) {
  run_program(argc, argv, program_name,
              [&body](const std::vector<std::string>& arguments, distributed::Communicator& communicator,
                      logging::Console& console,
                      distributed::HangDetector&) { return body(arguments, communicator, console); });
}

void run_program(int argc, char** argv, const std::string& program_name, const WatchedProgramBody& body) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  base::install_stop_handlers();
  // A file-size limit shall be an error of write(), which has a message and an exit code, not a dead process.
  std::signal(SIGXFSZ, SIG_IGN);
  // Nor does a run end because nobody reads its output any more: log.jsonl has all of it.
  std::signal(SIGPIPE, SIG_IGN);
  // Outlives the session: ranks are watched until MPI has ended.
  std::optional<distributed::HangDetector> hang_detector;
  std::unique_ptr<distributed::MpiSession> session;
  int rank = 0;
  const ExitGuard exit_guard(program_name);
  try {
    session = std::make_unique<distributed::MpiSession>();
    rank = session->rank();
    exit_guard.set_rank(rank);
    hang_detector.emplace(rank, session->size(), [&](const base::Error& diagnosis) {
      write_error(fmt::format("{}: error, found by rank {}: {}\n", program_name, rank, diagnosis.what()));
      distributed::end_all_ranks(static_cast<int>(diagnosis.exit_code()));
    });
    const bool is_quiet = std::find(arguments.begin(), arguments.end(), config::kQuiet) != arguments.end();
    logging::Console console(rank, is_quiet ? logging::Verbosity::quiet : logging::Verbosity::normal);
    std::unique_ptr<distributed::Communicator> communicator = connect(*session, program_name);
    const ExitCode code = body(arguments, *communicator, console, *hang_detector);
    const std::int64_t end = hang_detector->journal().begin({.operation = "the end of the program (MPI_Finalize)"});
    const distributed::CollectiveJournal::Blocked blocked(hang_detector->journal(), end);
    communicator.reset();
    session.reset();
    end_process(code);
  } catch (...) {
    const Failure failure = current_failure();
    const bool is_alone = session == nullptr || session->size() == 1;
    // Meant for all ranks, but perhaps found by this one alone (another option file on its host, say).
    const bool is_shared = is_alone || (failure.is_on_all_ranks && session->everybody_arrives_within(kSecondsToMeet));
    if (is_shared) {
      if (rank == 0) write_error(fmt::format("{}: error: {}\n", program_name, failure.message));
      session.reset();
      end_process(failure.exit_code);
    }
    // What several ranks run into at once (a missing file, say) is said by the lowest of them, which ends the others.
    if (rank > 0) std::this_thread::sleep_for(std::chrono::milliseconds(std::min(900 + 100 * rank, 3000)));
    write_error(fmt::format("{}: error on rank {}: {}\n", program_name, rank, failure.message));
    session->abort(static_cast<int>(failure.exit_code));
  }
}

}  // namespace leda::programs
