#include "distributed/core/clock_offset.hpp"

#include <ATen/ops/zeros.h>

#include <limits>

namespace leda::distributed {

ClockOffset estimate_clock_offset(Communicator& communicator, const std::function<double()>& clock, int num_rounds) {
  ClockOffset best{0.0, std::numeric_limits<double>::infinity()};
  if (communicator.rank() == 0) best.uncertainty_seconds = 0.0;
  for (int round = 0; round < num_rounds; ++round) {
    const at::Tensor arrivals = at::zeros({1}, at::kLong);
    const at::Tensor reading = at::zeros({1}, at::kDouble);
    const double before = clock();
    // A sum is complete on rank 0 only after every rank has joined it, hence read its clock.
    all_reduce(communicator, arrivals);
    *reading.mutable_data_ptr<double>() = clock();
    communicator.broadcast(reading, 0);
    const double after = clock();
    const double gap = (after - before) / 2.0;
    if (gap < best.uncertainty_seconds) best = {*reading.const_data_ptr<double>() - (before + after) / 2.0, gap};
  }
  return best;
}

}  // namespace leda::distributed
