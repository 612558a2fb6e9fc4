#include "ct/phantom_randomness.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace leda::ct {
namespace {

// From the top of the chest to the upper abdomen; at 5 mm a slice, a quarter of a metre.
constexpr double kSlicesPerDescent = 48.0;

double wave(double slice, double period, double phase) {
  return std::sin(2.0 * std::numbers::pi * (slice / period + phase));
}

}  // namespace

PhantomRandomness::PhantomRandomness(std::uint64_t seed, std::int64_t patient, std::int64_t slice)
    : random_({seed, base::key_of("torso anatomy"), static_cast<std::uint64_t>(patient)}),
      slice_(static_cast<double>(slice)) {}

double PhantomRandomness::varying(double low, double high) {
  const double middle = random_.uniform(low, high);
  const double period = random_.uniform(30.0, 60.0);
  const double phase = random_.uniform();
  return std::clamp(middle + 0.15 * (high - low) * wave(slice_, period, phase), low, high);
}

double PhantomRandomness::passing(double low, double high) {
  const double size = random_.uniform(low, high);
  const double period = random_.uniform(24.0, 48.0);
  const double phase = random_.uniform();
  return size * std::sqrt(std::max(0.0, 0.3 + 0.7 * wave(slice_, period, phase)));
}

int PhantomRandomness::count(int low, int high) {
  return low + static_cast<int>(random_.below(static_cast<std::uint64_t>(high - low + 1)));
}

double PhantomRandomness::level() {
  const double descents = slice_ / (2.0 * kSlicesPerDescent) + random_.uniform();
  return std::abs(2.0 * (descents - std::floor(descents)) - 1.0);
}

}  // namespace leda::ct
