// The processor time that one thread takes, read by another: tells a thread that waits by asking again and again, as
// MPI does, from one that does not run at all. A value; reading it after the thread's end is allowed and gives nothing.
#pragma once

#include <time.h>

#include <optional>

namespace leda::distributed {

class ThreadClock {
 public:
  // Nothing where the system has no such clock.
  static std::optional<ThreadClock> of_this_thread();
  // Since the thread's start, user and system. Any thread.
  std::optional<double> seconds() const;

 private:
  explicit ThreadClock(clockid_t clock) : clock_(clock) {}
  clockid_t clock_;
};

}  // namespace leda::distributed
