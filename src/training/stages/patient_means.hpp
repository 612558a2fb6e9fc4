// Validation figures by patient: the mean over each patient's slices, then over patients, so that a long scan does not
// outweigh a short one. Slices are shared out over ranks; the result is the same for any number of ranks, to the last
// bit, so that the choice of the best checkpoint is.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/scalar.hpp"

namespace leda::training {

class PatientMeans {
 public:
  PatientMeans(const data::ShardCatalogue& catalogue, std::vector<std::string> names);

  // One slice's figures, in the order of the names. Slices that cannot be measured are left out.
  void add(std::int64_t slice_id, const std::vector<double>& figures);
  // Collective. Throws ErrorOnAllRanks(data) where no slice was added on any rank.
  std::vector<logging::Scalar> reduce(distributed::Communicator& communicator);

 private:
  const data::ShardCatalogue& catalogue_;
  std::vector<std::string> names_;
  at::Tensor figures_;  // float64 [slices, names + 1]; the last column is 1 where a slice was added
};

}  // namespace leda::training
