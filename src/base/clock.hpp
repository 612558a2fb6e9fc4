// Time as seconds: a steady clock for durations, the system clock for what is written down.
#pragma once

#include <chrono>
#include <string>

namespace leda::base {

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

// Of a clock that never jumps; comparable within one host only.
double steady_seconds();
double unix_seconds();
std::string utc_now();  // 2026-03-10T12:00:00Z

}  // namespace leda::base
