#include "training/stage.hpp"

namespace leda::training {

std::uint64_t checkpoint_bytes(const Stage& stage) {
  const StageState state = stage.state();
  std::uint64_t bytes = 0;
  for (const storage::TensorArchive* archive : {&state.networks, &state.optimisers}) {
    for (const auto& [name, tensor] : archive->tensors) bytes += tensor.nbytes();
  }
  return bytes;
}

}  // namespace leda::training
