#include "base/stop_signal.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>

namespace leda::base {
namespace {

// What a process of its own knows after these signals: 10 * request + urgency, as its exit code. Signals are for ever.
[[noreturn]] void end_after(std::initializer_list<int> signals) {
  install_stop_handlers();
  for (const int number : signals) std::raise(number);
  std::exit(10 * static_cast<int>(requested_stop()) + (is_stop_urgent() ? 1 : 0));
}

TEST(StopSignalDeathTest, WithoutASignalNothingIsAskedFor) {
  EXPECT_EXIT(end_after({}), testing::ExitedWithCode(0), "");
}

TEST(StopSignalDeathTest, Usr1AndUsr2AskForAnotherStart) {
  EXPECT_EXIT(end_after({SIGUSR1}), testing::ExitedWithCode(10), "");
  EXPECT_EXIT(end_after({SIGUSR2}), testing::ExitedWithCode(10), "");
}

TEST(StopSignalDeathTest, IntAndTermAskForNone) {
  EXPECT_EXIT(end_after({SIGINT}), testing::ExitedWithCode(20), "");
  EXPECT_EXIT(end_after({SIGTERM}), testing::ExitedWithCode(20), "");
}

TEST(StopSignalDeathTest, ASecondSignalMeansUrgencyAndTheStrongerRequestWins) {
  EXPECT_EXIT(end_after({SIGUSR1, SIGUSR1}), testing::ExitedWithCode(11), "");
  EXPECT_EXIT(end_after({SIGUSR1, SIGTERM}), testing::ExitedWithCode(21), "");
  EXPECT_EXIT(end_after({SIGINT, SIGUSR2}), testing::ExitedWithCode(21), "");
}

TEST(StopSignalDeathTest, WhatWasBlockedWhenItCameIsNotLost) {
  const auto blocked_first = [] {
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, nullptr);
    std::raise(SIGUSR1);
    end_after({});
  };
  EXPECT_EXIT(blocked_first(), testing::ExitedWithCode(10), "");
}

}  // namespace
}  // namespace leda::base
