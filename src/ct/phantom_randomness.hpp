// The random numbers of one made-up patient, for one slice. They are drawn in an order that does not depend on the
// slice, so neighbouring slices resemble each other. One thread.
#pragma once

#include <cstdint>

#include "base/keyed_random.hpp"

namespace leda::ct {

class PhantomRandomness {
 public:
  PhantomRandomness(std::uint64_t seed, std::int64_t patient, std::int64_t slice);

  // Within [low, high], the same in all slices.
  double fixed(double low, double high) { return random_.uniform(low, high); }
  // Within [low, high], drifting slowly from slice to slice.
  double varying(double low, double high);
  // At most a number within [low, high]; shrinks to 0 where the scan has passed the structure.
  double passing(double low, double high);
  bool happens(double probability) { return random_.uniform() < probability; }
  int count(int low, int high);
  // 0 at the top of the chest, 1 in the upper abdomen, then up again.
  double level();

 private:
  base::KeyedRandom random_;
  double slice_;
};

}  // namespace leda::ct
