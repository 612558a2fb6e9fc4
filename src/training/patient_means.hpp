// Validation figures by patient: the mean over each patient's slices, then over patients, so that a long scan does not
// outweigh a short one. Slices are shared out over ranks; the result is the same for any number of ranks up to
// rounding.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "data/shard_catalogue.hpp"
#include "distributed/communicator.hpp"
#include "logging/scalar.hpp"

namespace leda::training {

class PatientMeans {
 public:
  PatientMeans(const data::ShardCatalogue& catalogue, std::vector<std::string> names);

  // One slice's figures, in the order of the names.
  void add(std::int64_t slice_id, const std::vector<double>& figures);
  // Collective.
  std::vector<logging::Scalar> reduce(distributed::Communicator& communicator);

 private:
  const data::ShardCatalogue& catalogue_;
  std::vector<std::string> names_;
  std::map<std::string, std::int64_t> row_of_patient_;
  at::Tensor sums_;  // float64 [patients, names + 1]; the last column counts slices
};

// Calls `visit` for this rank's slices of the data set, every size-th one.
void for_each_slice_of_rank(const data::ShardCatalogue& catalogue, const distributed::Communicator& communicator,
                            const std::function<void(std::int64_t slice_id)>& visit);

}  // namespace leda::training
