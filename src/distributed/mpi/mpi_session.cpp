#include "distributed/mpi/mpi_session.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string_view>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "distributed/core/exit_deadline.hpp"
#include "distributed/mpi/mpi_check.hpp"

namespace leda::distributed {
namespace {

constexpr const char* kStartMessage =
    "error: MPI_Init has not returned within 600 s\n"
    "  why it matters: some rank of the job has not come up, and the others wait for it\n"
    "  what to try: look at the launcher's messages and at the hosts; start the same command again\n";

std::optional<int> number_in_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr) return std::nullopt;
  const std::string_view digits(text);
  int number = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (result.ec != std::errc()) return std::nullopt;
  return number;
}

void check_thread_level() {
  int granted = 0;
  check_mpi(MPI_Query_thread(&granted), "MPI_Query_thread");
  if (granted >= MPI_THREAD_SERIALIZED) return;
  throw base::ErrorOnAllRanks(base::ExitCode::communication,
                              {.what = "this MPI does not grant MPI_THREAD_SERIALIZED",
                               .value = fmt::format("granted level {}", granted),
                               .why = "gradients leave from the thread that runs backward",
                               .remedy = "use an MPI built with thread support"});
}

}  // namespace

void prefer_ring_sums() {
  constexpr int kMostRanks = 64;
  const int num_ranks = announced_world().size;
  if (num_ranks == 0 || num_ranks > kMostRanks) return;
  setenv("OMPI_MCA_coll_libnbc_iallreduce_algorithm", "1", /*overwrite=*/0);
}

namespace {

// Open MPI starts a daemon beside a program that has no launcher, for MPI_Comm_spawn, which nothing here calls.
void start_no_daemon() {
  if (announced_world().size == 0) setenv("OMPI_MCA_ess_singleton_isolated", "1", /*overwrite=*/0);
}

}  // namespace

MpiSession::MpiSession() : exceptions_at_start_(std::uncaught_exceptions()) {
  int is_running = 0;
  check_mpi(MPI_Initialized(&is_running), "MPI_Initialized");
  if (is_running == 0) {
    prefer_ring_sums();
    start_no_daemon();
    const ExitDeadline deadline(kSecondsToStart, static_cast<int>(base::ExitCode::communication), kStartMessage);
    int granted = 0;
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &granted), "MPI_Init_thread");
    owns_mpi_ = true;
    check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  }
  check_mpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank_), "MPI_Comm_rank");
  check_mpi(MPI_Comm_size(MPI_COMM_WORLD, &size_), "MPI_Comm_size");
  check_thread_level();
  check_launched_world(size_);
}

MpiSession::~MpiSession() {
  if (!owns_mpi_) return;
  if (std::uncaught_exceptions() > exceptions_at_start_) abort(static_cast<int>(base::ExitCode::internal));
  MPI_Finalize();
}

bool MpiSession::everybody_arrives_within(double seconds) const {
  const base::Stopwatch stopwatch;
  MPI_Request arrival = MPI_REQUEST_NULL;
  if (MPI_Ibarrier(MPI_COMM_WORLD, &arrival) != MPI_SUCCESS) return false;
  for (int is_complete = 0; stopwatch.seconds() < seconds;) {
    if (MPI_Test(&arrival, &is_complete, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
    if (is_complete != 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

void MpiSession::abort(int exit_code) const { end_all_ranks(exit_code); }

AnnouncedWorld announced_world() {
  // mpirun's word counts before Slurm's: inside an allocation, mpirun -np 1 means one.
  for (const char* variable : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"}) {
    if (std::getenv(variable) == nullptr) continue;
    return {number_in_environment(variable).value_or(0), variable};
  }
  return {};
}

void check_launched_world(int world_size) {
  if (world_size > 1) return;
  const AnnouncedWorld announced = announced_world();
  if (announced.size <= 1) return;
  throw base::Error(
      base::ExitCode::communication,
      {.what = fmt::format("{} announces {} ranks, but this process is alone", announced.variable, announced.size),
       .value = "world size 1",
       .why = "each process would train by itself, all of them into the same folder",
       .remedy =
           "start with mpirun, or with srun --mpi=pmix where Slurm and MPI share a PMIx; for one rank on purpose, "
           "mpirun -np 1"});
}

}  // namespace leda::distributed
