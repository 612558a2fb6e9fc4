// Collects the named scalars of one step as its micro-batches go by. Plainly, a rank's parts are added up. In a
// reproducible step (distributed.reproducible) each sample's value keeps its place in the global batch instead, so that
// the sum over the batch does not depend on which rank had which sample. One step, one thread; never waits for a
// device.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "data/loading/batch_prefetcher.hpp"
#include "distributed/core/communicator.hpp"
#include "training/stages/stage.hpp"

namespace leda::training {

class StepReport {
 public:
  // Every rank reports the same names, in this order, whatever it adds. In float64.
  StepReport(std::vector<std::string> names, const data::StepBatch& batch,
             const distributed::Communicator& communicator, bool is_reproducible, at::Device device);

  // `value`, no dimensions: the part that micro-batch `micro_batch` of this rank has in the sum over all samples.
  void add(const std::string& name, std::size_t micro_batch, const at::Tensor& value);
  // A value that is the same on every rank.
  void set_shared(const std::string& name, const at::Tensor& value);
  // Entries without dimensions; reproducible: [samples of the global batch].
  const LossReport& entries() const { return entries_; }

 private:
  at::Tensor& entry(const std::string& name);

  bool is_reproducible_;
  std::int64_t first_position_;
  bool holds_first_sample_;  // and adds for all ranks what they share
  double num_ranks_;
  LossReport entries_;
};

}  // namespace leda::training
