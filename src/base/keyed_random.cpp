#include "base/keyed_random.hpp"

#include <cmath>
#include <numbers>

namespace leda::base {
namespace {

constexpr std::uint64_t kGolden = 0x9e3779b97f4a7c15ULL;

std::uint64_t mix(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
  return z ^ (z >> 31);
}

}  // namespace

std::uint64_t mix_key(std::initializer_list<std::uint64_t> parts) {
  std::uint64_t key = 0;
  for (const std::uint64_t part : parts) key = mix(key + kGolden + mix(part + kGolden));
  return key;
}

std::uint64_t key_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

KeyedRandom::KeyedRandom(std::initializer_list<std::uint64_t> key_parts) : state_(mix_key(key_parts)) {}

std::uint64_t KeyedRandom::next() {
  state_ += kGolden;
  return mix(state_);
}

double KeyedRandom::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

double KeyedRandom::uniform(double low, double high) { return low + (high - low) * uniform(); }

double KeyedRandom::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

std::uint64_t KeyedRandom::below(std::uint64_t limit) {
  // Values under `threshold` would make the low remainders more likely than the others.
  const std::uint64_t threshold = (0 - limit) % limit;
  std::uint64_t value = next();
  while (value < threshold) value = next();
  return value % limit;
}

}  // namespace leda::base
