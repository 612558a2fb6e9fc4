#include "distributed/core/clock_offset.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::distributed {
namespace {

// Ranks are threads, so their true offsets are known: each reads the same clock, set wrong by `offsets`.
std::vector<ClockOffset> estimates(const std::vector<double>& offsets, double mean_delay_seconds) {
  std::vector<ClockOffset> found(offsets.size());
  test::run_ranks(static_cast<int>(offsets.size()), [&](Communicator& communicator) {
    const auto rank = static_cast<std::size_t>(communicator.rank());
    std::mt19937 random(static_cast<unsigned>(rank));
    std::exponential_distribution<double> delay(mean_delay_seconds > 0.0 ? 1.0 / mean_delay_seconds : 1.0);
    found[rank] = estimate_clock_offset(communicator, [&] {
      const double reading = base::steady_seconds() + offsets[rank];
      if (mean_delay_seconds > 0.0) std::this_thread::sleep_for(std::chrono::duration<double>(delay(random)));
      return reading;
    });
  });
  return found;
}

TEST(ClockOffset, AWrongClockIsFoundWithinTheStatedUncertainty) {
  const std::vector<double> offsets{0.25, -3.5, 1000.0, 0.0};
  const auto found = estimates(offsets, 0.0);
  for (std::size_t rank = 0; rank < offsets.size(); ++rank) {
    EXPECT_LE(std::abs(found[rank].seconds - (offsets[0] - offsets[rank])), found[rank].uncertainty_seconds + 1e-9);
  }
}

TEST(ClockOffset, DelaysWidenTheUncertaintyButNotBeyondIt) {
  const std::vector<double> offsets{5.0, 0.0, -5.0};
  const auto found = estimates(offsets, 1e-3);
  for (std::size_t rank = 0; rank < offsets.size(); ++rank) {
    EXPECT_LE(std::abs(found[rank].seconds - (offsets[0] - offsets[rank])), found[rank].uncertainty_seconds + 1e-9);
  }
}

// A clock that advances by one at each reading of any rank: the bound is a count of readings, not a matter of speed.
TEST(ClockOffset, UncertaintyIsHalfTheSmallestGap) {
  std::mutex mutex;
  double now = 0.0;
  std::vector<ClockOffset> found(2);
  test::run_ranks(2, [&](Communicator& communicator) {
    found[static_cast<std::size_t>(communicator.rank())] = estimate_clock_offset(communicator, [&] {
      const std::scoped_lock lock(mutex);
      return now += 1.0;
    });
  });
  EXPECT_GE(found[1].uncertainty_seconds, 0.5);
  EXPECT_LE(found[1].uncertainty_seconds, 3.0);
  EXPECT_LE(std::abs(found[1].seconds), found[1].uncertainty_seconds);
}

TEST(ClockOffset, RankZeroIsItsOwnReference) {
  const auto found = estimates({7.0}, 0.0);
  EXPECT_EQ(found[0].seconds, 0.0);
  EXPECT_EQ(found[0].uncertainty_seconds, 0.0);
}

}  // namespace
}  // namespace leda::distributed
