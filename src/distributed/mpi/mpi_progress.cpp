#include "distributed/mpi/mpi_progress.hpp"

#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <functional>
#include <utility>

#include "distributed/mpi/mpi_check.hpp"

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

enum class Answer { under_way, through, failed };

}  // namespace

struct MpiProgress::UnderWay {
  explicit UnderWay(std::vector<MPI_Request> all) : requests(std::move(all)) {}

  // Asking about one request that is under way makes MPI look after everything that is.
  Answer ask() {
    const std::scoped_lock lock(mutex);
    while (!requests.empty()) {
      int is_complete = 0;
      if (MPI_Request_get_status(requests.back(), &is_complete, MPI_STATUS_IGNORE) != MPI_SUCCESS)
        return Answer::failed;
      if (is_complete == 0) return Answer::under_way;
      requests.pop_back();
    }
    return Answer::through;
  }

  void forget() {
    const std::scoped_lock lock(mutex);
    requests.clear();
  }

  std::mutex mutex;
  std::vector<MPI_Request> requests;  // those not known to be complete
};

MpiProgress::MpiProgress() {
  int granted = 0;
  check_mpi(MPI_Query_thread(&granted), "MPI_Query_thread");
  if (granted < MPI_THREAD_MULTIPLE) return;
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
}

void MpiProgress::work() {
  std::unique_lock lock(mutex_);
  while (!is_ending_) {
    if (under_way_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const std::shared_ptr<UnderWay> oldest = under_way_.front();
    lock.unlock();
    const Answer answer = oldest->ask();
    lock.lock();
    if (answer == Answer::failed) return;  // the thread that waits meets the same fault and reports it
    if (answer == Answer::through) {
      under_way_.pop_front();
      continue;
    }
    changed_.wait_for(lock, kPause, [this] { return is_ending_; });
  }
}

void MpiProgress::add(std::shared_ptr<UnderWay> under_way) {
  const std::scoped_lock lock(mutex_);
  under_way_.push_back(std::move(under_way));
  if (under_way_.size() == 1) changed_.notify_all();
}

MpiProgress::Need::Need(MpiProgress& progress, std::vector<MPI_Request> requests) {
  if (!progress.has_thread()) return;
  under_way_ = std::make_shared<UnderWay>(std::move(requests));
  progress.add(under_way_);
}

MpiProgress::Need::~Need() {
  if (under_way_ != nullptr) under_way_->forget();
}

MpiProgress::Need& MpiProgress::Need::operator=(Need&& other) noexcept {
  std::swap(under_way_, other.under_way_);
  return *this;
}

}  // namespace leda::distributed
