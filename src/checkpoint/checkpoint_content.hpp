// What a checkpoint holds, in memory. Plain data.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "distributed/core/communicator.hpp"
#include "storage/safetensors.hpp"

namespace leda::checkpoint {

struct CheckpointContent {
  std::map<std::string, storage::TensorArchive> archives;  // file stem -> tensors: "networks", "optimisers"
  std::string state_json;                                  // counters, schedule, data position: state.json as it is
};

struct LoadedCheckpoint {
  std::int64_t step = 0;
  bool is_last = false;  // the run was finished
  CheckpointContent content;
  std::string provenance_json;    // as it was saved; empty where it is missing or damaged
  std::string provenance_damage;  // why it is not believed; empty where it is sound or missing
  std::string manifest_checksum;  // XXH3-64 of the manifest's text: of equal ones, all that is listed is equal
};

// Collective: every rank gets rank 0's checkpoint.
void broadcast_checkpoint(distributed::Communicator& communicator, LoadedCheckpoint& checkpoint);

}  // namespace leda::checkpoint
