// How far a rank's clock is from rank 0's, so that what different hosts write down can be compared.
#pragma once

#include <functional>

#include "distributed/core/communicator.hpp"

namespace leda::distributed {

struct ClockOffset {
  double seconds = 0.0;              // rank 0's clock minus this rank's
  double uncertainty_seconds = 0.0;  // the true offset is not further away than this
};

// In each round every rank reads `clock` (seconds), all meet, rank 0 reads its own and tells it, and every rank reads
// `clock` again: rank 0's reading lies between this rank's two, whatever the network did. The round with the smallest
// gap counts (Cristian, "Probabilistic clock synchronization", 1989). Collective.
ClockOffset estimate_clock_offset(Communicator& communicator, const std::function<double()>& clock,
                                  int num_rounds = 16);

}  // namespace leda::distributed
