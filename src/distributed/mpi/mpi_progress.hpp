// MPI moves a non-blocking collective on mainly inside MPI calls, and backward makes none for long stretches. While
// something large is under way, a thread of this class asks MPI about it twice a millisecond, so that sums go on while
// the rank computes. It never waits inside MPI and completes nothing itself, and sleeps from the moment at which all
// that it was told of is through, whether or not anybody has waited for it yet.
// Needs MPI_THREAD_MULTIPLE; where MPI grants less there is no thread and sums advance in wait() only.
// Owned by the first communicator, used by its duplicates, ends before MPI does.
#pragma once

#include <mpi.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace leda::distributed {

class MpiProgress {
 private:
  struct UnderWay;

 public:
  MpiProgress();
  ~MpiProgress();
  MpiProgress(const MpiProgress&) = delete;
  MpiProgress& operator=(const MpiProgress&) = delete;

  bool has_thread() const { return thread_.joinable(); }

  // As long as one of these lives, the thread may ask about its requests, so it ends before anybody completes or frees
  // them. Its end waits for the thread's current call into MPI, if that is about them. From any thread.
  class Need {
   public:
    Need() = default;
    Need(MpiProgress& progress, std::vector<MPI_Request> requests);
    ~Need();
    Need(Need&& other) noexcept = default;
    Need& operator=(Need&& other) noexcept;

   private:
    std::shared_ptr<UnderWay> under_way_;
  };

 private:
  void add(std::shared_ptr<UnderWay> under_way);
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<UnderWay>> under_way_;  // oldest first
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace leda::distributed
