#include "distributed/core/thread_clock.hpp"

#include <pthread.h>

namespace leda::distributed {

std::optional<ThreadClock> ThreadClock::of_this_thread() {
  clockid_t clock{};
  if (pthread_getcpuclockid(pthread_self(), &clock) != 0) return std::nullopt;
  return ThreadClock(clock);
}

std::optional<double> ThreadClock::seconds() const {
  timespec time{};
  if (clock_gettime(clock_, &time) != 0) return std::nullopt;
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

}  // namespace leda::distributed
