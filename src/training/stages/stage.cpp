#include "training/stages/stage.hpp"

#include <stdexcept>

namespace leda::training {

std::size_t num_micro_batches_of(const data::StepBatch& batch, bool is_reproducible) {
  if (!is_reproducible) return batch.micro_batches.size();
  std::size_t count = 0;
  for (const ct::ImageBatch& micro_batch : batch.micro_batches) {
    if (micro_batch.size() > 1) throw std::logic_error("a reproducible step runs each sample by itself");
    count += static_cast<std::size_t>(micro_batch.size());
  }
  return count;
}

std::uint64_t checkpoint_bytes(const Stage& stage) {
  const StageState state = stage.state();
  std::uint64_t bytes = 0;
  for (const storage::TensorArchive* archive : {&state.networks, &state.optimisers}) {
    for (const auto& [name, tensor] : archive->tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

}  // namespace leda::training
