// MPI moves a non-blocking collective on mainly inside MPI calls, and backward makes none for long stretches. While
// something large is under way, a thread of this class calls into MPI about twice a millisecond, so that sums go on
// while the rank computes. It never waits inside MPI and completes nothing itself, and sleeps while nothing is under
// way. Needs MPI_THREAD_MULTIPLE; where MPI grants less there is no thread and sums advance in wait() only.
// Owned by the first communicator, used by its duplicates, ends before MPI does.
#pragma once

#include <mpi.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace leda::distributed {

class MpiProgress {
 public:
  // Asks on a duplicate of `parent`. Collective, as is its end.
  explicit MpiProgress(MPI_Comm parent);
  ~MpiProgress();
  MpiProgress(const MpiProgress&) = delete;
  MpiProgress& operator=(const MpiProgress&) = delete;

  bool has_thread() const { return thread_.joinable(); }

  // As long as one of these lives, the thread works. From any thread; movable into what is waited for.
  class Need {
   public:
    Need() = default;
    explicit Need(MpiProgress& progress);
    ~Need();
    Need(Need&& other) noexcept;
    Need& operator=(Need&& other) noexcept;

   private:
    MpiProgress* progress_ = nullptr;
  };

 private:
  void change_needs(int by);
  void work();

  std::mutex mutex_;
  std::condition_variable changed_;
  int num_needs_ = 0;
  bool is_ending_ = false;
  MPI_Comm asked_ = MPI_COMM_NULL;
  std::thread thread_;
};

}  // namespace leda::distributed
