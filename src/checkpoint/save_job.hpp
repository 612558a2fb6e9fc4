// One save, from a snapshot in memory to the last old checkpoint removed, as a rank's writer does it: on a thread of
// its own, without a communicator, told by another thread at most to skip verification or to abort. Rank 0's writer
// ends it for all: it waits for the other ranks' parts, writes the manifest, gives the folder its name.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "checkpoint/archive_files.hpp"
#include "checkpoint/checkpoint_listing.hpp"
#include "logging/console.hpp"

namespace leda::checkpoint {

struct SaveRequest {
  std::int64_t step = 0;
  bool is_last = false;    // the run is finished with it
  bool is_best = false;    // marked as the best, instead of the one that was
  bool is_urgent = false;  // without read-back and retention: somebody waits for the node
  // When the training loop stood still for it (base::steady_seconds): what came before start_save() is counted too.
  double pause_began_seconds = base::steady_seconds();
};

// Seconds of one save: rank 0's.
struct SaveCost {
  std::int64_t step = 0;
  std::uint64_t num_bytes = 0;     // values of tensors, of all ranks
  double pause_seconds = 0.0;      // for which training stood still
  double write_seconds = 0.0;      // on the writer's thread: to the last fsync, read-back and retention left out
  double verify_seconds = 0.0;     // of reading back
  double retention_seconds = 0.0;  // of removing old ones
};

struct SaveJob {
  std::filesystem::path folder;  // of all checkpoints
  std::string id;                // of this save alone, the same on every rank
  std::string run_identity;
  SaveRequest request;
  int rank = 0;
  std::vector<ArchiveFile> files;  // of all ranks
  std::vector<int> writers;        // rank, by file
  std::string provenance_json;
  RetentionPlan retention;
  bool removes_leftovers = false;  // of earlier runs, first
  double patience_seconds = 60.0;  // for other ranks' parts, beside ten times what rank 0's own took

  bool has_work() const;  // this rank has something to write
};

// What the thread that ordered a save and the one that makes it tell each other meanwhile.
struct SaveProgress {
  std::atomic<std::uint64_t> num_pieces{0};  // written or read back so far; grows while the disk answers
  std::atomic<bool> is_urgent{false};        // from now on without read-back and retention
  std::atomic<bool> is_aborted{false};       // another rank has failed: give up
};

// Thrown where the reason lies with another rank.
class SaveAborted : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// This rank's share. Error(storage) where the disk refuses or damages data, SaveAborted. `content` holds at least this
// rank's tensors. After a failure nothing has the checkpoint's name; what is in its temporary folder is of no use.
SaveCost run_save(const SaveJob& job, const CheckpointContent& content, SaveProgress& progress,
                  logging::Console& console);

}  // namespace leda::checkpoint
