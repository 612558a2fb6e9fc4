#include "distributed/core/exit_deadline.hpp"

#include <mpi.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <utility>

namespace leda::distributed {
namespace {

constexpr double kSecondsToAbort = 2.0;

bool mpi_is_running() {
  int is_initialized = 0;
  int is_finalized = 0;
  MPI_Initialized(&is_initialized);
  MPI_Finalized(&is_finalized);
  return is_initialized != 0 && is_finalized == 0;
}

}  // namespace

ExitDeadline::ExitDeadline(double seconds, int exit_code, std::string message)
    : timer_([this, seconds, exit_code, text = std::move(message)] {
        std::unique_lock lock(mutex_);
        if (cancelled_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return is_cancelled_; })) return;
        if (!text.empty()) std::fputs(text.c_str(), stderr);
        std::fflush(stderr);
        _exit(exit_code);
      }) {}

ExitDeadline::~ExitDeadline() {
  {
    const std::scoped_lock lock(mutex_);
    is_cancelled_ = true;
  }
  cancelled_.notify_all();
  timer_.join();
}

void end_all_ranks(int exit_code) {
  const ExitDeadline deadline(kSecondsToAbort, exit_code, "");
  std::fflush(nullptr);
  if (mpi_is_running()) MPI_Abort(MPI_COMM_WORLD, exit_code);
  _exit(exit_code);
}

}  // namespace leda::distributed
