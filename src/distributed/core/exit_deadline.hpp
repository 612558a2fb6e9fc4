// An end with a limit: if its scope is not left in time, the process ends with a message and an exit code, whatever its
// other threads are stuck in. For calls that can hang and cannot be interrupted (MPI_Init, MPI_Finalize, MPI_Abort).
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace leda::distributed {

class ExitDeadline {
 public:
  // An empty message says nothing.
  ExitDeadline(double seconds, int exit_code, std::string message);
  ~ExitDeadline();
  ExitDeadline(const ExitDeadline&) = delete;
  ExitDeadline& operator=(const ExitDeadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable cancelled_;
  bool is_cancelled_ = false;
  std::thread timer_;
};

// For all ranks to come up and find each other, before options say how long to wait: with many nodes and a slow file
// system minutes, not hours.
constexpr double kSecondsToStart = 600.0;

// Ends all ranks with this exit code: MPI_Abort where MPI runs, and two seconds later at most the end of this process,
// which launchers take as the end of the job. From any thread.
[[noreturn]] void end_all_ranks(int exit_code);

}  // namespace leda::distributed
