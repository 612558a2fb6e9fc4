// Random numbers that depend on what they are for, (run seed, epoch, slice id) say, and on nothing else: neither on
// the rank, the thread nor the order of calls elsewhere. SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): the state is a
// counter, the output a bijective hash of it.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string_view>

namespace leda::base {

// One well-mixed 64-bit key of several numbers; the order matters.
std::uint64_t mix_key(std::initializer_list<std::uint64_t> parts);
// FNV-1a of a name, to use as a part of a key.
std::uint64_t key_of(std::string_view name);

class KeyedRandom {
 public:
  explicit KeyedRandom(std::initializer_list<std::uint64_t> key_parts);

  std::uint64_t next();
  double uniform();                          // [0, 1), 53 bits
  double uniform(double low, double high);   // [low, high)
  double normal();                           // standard normal, Box-Muller
  std::uint64_t below(std::uint64_t limit);  // [0, limit), limit > 0, without bias

 private:
  std::uint64_t state_;
};

}  // namespace leda::base
