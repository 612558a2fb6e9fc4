#include "training/stages/step_report.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "distributed/core/batch_partition.hpp"

namespace leda::training {

StepReport::StepReport(std::vector<std::string> names, const data::StepBatch& batch,
                       const distributed::Communicator& communicator, bool is_reproducible, at::Device device)
    : is_reproducible_(is_reproducible), num_ranks_(communicator.size()) {
  const auto partition = distributed::partition_of_rank(batch.global_count, communicator.rank(), communicator.size());
  first_position_ = partition.first;
  holds_first_sample_ = partition.first == 0 && partition.size() > 0;
  for (std::string& name : names) {
    const std::vector<std::int64_t> shape =
        is_reproducible ? std::vector{batch.global_count} : std::vector<std::int64_t>();
    entries_.emplace_back(std::move(name), at::zeros(shape, at::TensorOptions(at::kDouble).device(device)));
  }
}

at::Tensor& StepReport::entry(const std::string& name) {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const auto& one) { return one.first == name; });
  if (found == entries_.end()) throw std::logic_error("nothing called " + name + " is reported");
  return found->second;
}

void StepReport::add(const std::string& name, std::size_t micro_batch, const at::Tensor& value) {
  at::Tensor& sum = entry(name);
  if (is_reproducible_) {
    sum.select(0, first_position_ + static_cast<std::int64_t>(micro_batch)).add_(value.detach());
  } else {
    sum.add_(value.detach());
  }
}

void StepReport::set_shared(const std::string& name, const at::Tensor& value) {
  at::Tensor& sum = entry(name);
  // Reports are summed over ranks: each has its share of it, or one has it all.
  if (!is_reproducible_) {
    sum.copy_(value.detach() / num_ranks_);
  } else if (holds_first_sample_) {
    sum.select(0, 0).copy_(value.detach());
  }
}

}  // namespace leda::training
