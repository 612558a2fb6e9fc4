#include "distributed/mpi_progress.hpp"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <exception>
#include <functional>
#include <utility>

#include "distributed/mpi_check.hpp"

namespace leda::distributed {
namespace {

constexpr std::chrono::microseconds kPause{500};

// The stop signals are for the thread that trains.
std::thread start_without_signals(const std::function<void()>& body) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(body);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

MpiProgress::MpiProgress(MPI_Comm parent) {
  int granted = 0;
  check_mpi(MPI_Query_thread(&granted), "MPI_Query_thread");
  if (granted < MPI_THREAD_MULTIPLE) return;
  check_mpi(MPI_Comm_dup(parent, &asked_), "MPI_Comm_dup");
  thread_ = start_without_signals([this] { work(); });
}

MpiProgress::~MpiProgress() {
  if (!thread_.joinable()) return;
  {
    const std::scoped_lock lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
  if (std::uncaught_exceptions() == 0) MPI_Comm_free(&asked_);
}

void MpiProgress::work() {
  std::unique_lock lock(mutex_);
  while (!is_ending_) {
    if (num_needs_ == 0) {
      changed_.wait(lock);
      continue;
    }
    lock.unlock();
    // Nobody ever sends on this communicator; asking makes MPI look after everything that is under way. Of all ranks,
    // because MPICH looks at no network for the sake of MPI_COMM_SELF.
    int is_there = 0;
    const int code = MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, asked_, &is_there, MPI_STATUS_IGNORE);
    lock.lock();
    if (code != MPI_SUCCESS) return;  // the thread that waits meets the same fault and reports it
    changed_.wait_for(lock, kPause, [this] { return is_ending_; });
  }
}

void MpiProgress::change_needs(int by) {
  const std::scoped_lock lock(mutex_);
  num_needs_ += by;
  if (by > 0 && num_needs_ == by) changed_.notify_all();
}

MpiProgress::Need::Need(MpiProgress& progress) : progress_(progress.has_thread() ? &progress : nullptr) {
  if (progress_ != nullptr) progress_->change_needs(1);
}

MpiProgress::Need::~Need() {
  if (progress_ != nullptr) progress_->change_needs(-1);
}

MpiProgress::Need::Need(Need&& other) noexcept : progress_(std::exchange(other.progress_, nullptr)) {}

MpiProgress::Need& MpiProgress::Need::operator=(Need&& other) noexcept {
  std::swap(progress_, other.progress_);
  return *this;
}

}  // namespace leda::distributed
