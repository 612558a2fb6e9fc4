// A run's checkpoints on disk: complete, verified, the last few, every N-th and the best one
// (docs/formats/checkpoint.md). A save takes a copy of the state in memory; a thread writes it while training goes on,
// and the ranks learn how it went at a later step. A checkpoint appears under its name by one rename, after all its
// bytes are on the disk and were read back; a kill at any moment leaves the ones before usable. Content has no time,
// host or path in it: equal training, equal bytes, on any number of ranks.
// All calls but the plain accessors and skip_verification() are collective: every rank returns, or throws, alike. Calls
// other than poll() first wait for a save that is under way. Rank 0 alone reads; where an archive is split over several
// files, other ranks write some of them. One store writes into a folder at a time (RunFolderLock sees to that); reading
// needs no lock. One thread, beside the writer's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "checkpoint/background_save.hpp"
#include "checkpoint/checkpoint_content.hpp"
#include "checkpoint/save_agreement.hpp"
#include "checkpoint/save_job.hpp"
#include "checkpoint/snapshot.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::checkpoint {

struct CheckpointOptions {
  int keep_last = 3;  // newest checkpoints that are kept (at least 1); the best by validation is kept beside them
  std::int64_t keep_every_num_steps = 0;                  // checkpoints of these steps are kept for ever; 0 = of none
  std::uint64_t max_file_bytes = std::uint64_t{1} << 30;  // larger archives are split, between tensors
};

struct SaveOutcome {
  SaveRequest request;
  bool is_saved = false;  // false: said as a warning, to be tried again at the next interval
  SaveCost cost;          // where it was saved
};

// lint: what is known of one folder between saves; what a save consists of has types of its own
class CheckpointStore {
 public:
  // Touches nothing on disk but best.json, which it reads. `run_identity`: what must match for a checkpoint to be of
  // this run, opaque here. Communicator and console outlive the store.
  CheckpointStore(std::filesystem::path folder, CheckpointOptions options, std::string run_identity,
                  distributed::Communicator& communicator, logging::Console& console);
  ~CheckpointStore();
  CheckpointStore(const CheckpointStore&) = delete;
  CheckpointStore& operator=(const CheckpointStore&) = delete;

  // Copies `content` and returns; the rest goes on in the background. Not while one is under way. The ranks' contents
  // are equal; where no archive is split, other ranks' than 0's is not looked at. `provenance_json`: a JSON object
  // without the members "checksum" and "state_xxh3_64", or "".
  void start_save(const SaveRequest& request, const CheckpointContent& content, const std::string& provenance_json);
  // A save is under way, for all that the ranks know together.
  bool is_saving() const { return under_way_ != nullptr; }
  // How the save under way ended, once every rank's writer is done and every rank knows it; nullopt until then. Called
  // at every step while one is under way; waits for nobody. Error where the reason is not the disk's.
  std::optional<SaveOutcome> poll();
  // The same, waited for; nullopt where none is under way. `is_urgent`, of this rank, is asked meanwhile, and followed
  // as by skip_verification().
  std::optional<SaveOutcome> finish(const std::function<bool()>& is_urgent = {});
  // From now on the save under way goes without read-back and retention. Any rank, not collective.
  void skip_verification();

  // start_save and finish. False: not saved.
  bool save(const SaveRequest& request, const CheckpointContent& content, const std::string& provenance_json);
  bool save(std::int64_t step, const CheckpointContent& content, const std::string& provenance_json) {
    return save(SaveRequest{.step = step}, content, provenance_json);
  }
  // As save, of a finished run; throws Error(storage) on every rank where save would return false.
  void save_last(std::int64_t step, const CheckpointContent& content, const std::string& provenance_json);

  // Of the newest successful saves, newest last, at most 16; the same on every rank.
  const std::vector<SaveCost>& costs() const { return costs_; }

  // The newest complete one of this run, the same on every rank, which reads and verifies it itself; what rank 0 finds
  // holds for all. Others are warned about with the reason and passed over. nullopt: there is none at all. Error(data):
  // some exist and none is usable, or the newest is of a newer format.
  std::optional<LoadedCheckpoint> load_newest();
  // Error(data) where that step is missing, damaged or of another run.
  LoadedCheckpoint load_step(std::int64_t step);

  // Protects this step from retention, instead of the one that was best before. Error(internal) where it is not there.
  void mark_best(std::int64_t step);
  // nullopt: none is marked, or it is no longer there. The same on every rank.
  std::optional<std::int64_t> best_step() const { return best_step_; }

  // Throws Error(storage) if a checkpoint of `expected_bytes` could not be written here: creates the folder, removes
  // what killed saves left behind, probes write, fsync, rename and free space.
  void check_writable(std::uint64_t expected_bytes);

 private:
  SaveJob make_job(const SaveRequest& request, const CheckpointContent& content, const std::string& provenance_json);
  SaveOutcome complete_save();
  void wait_for_writer(const std::function<bool()>& is_urgent = {});
  std::map<std::int64_t, std::filesystem::path> checkpoints_on_rank_zero();

  std::filesystem::path folder_;
  CheckpointOptions options_;
  std::string run_identity_;
  distributed::Communicator& communicator_;
  logging::Console& console_;
  std::vector<int> writing_order_;  // ranks
  std::string id_;                  // of this store, the same on every rank
  std::int64_t num_saves_ = 0;
  std::optional<std::int64_t> best_step_;
  std::set<std::int64_t> damaged_steps_;  // seen by load_newest; they do not count among the last few
  bool leftovers_removed_ = false;
  std::vector<SaveCost> costs_;
  SaveAgreement save_agreement_;
  Snapshot snapshot_;
  double pause_seconds_ = 0.0;                 // of the save under way, so far
  std::unique_ptr<BackgroundSave> under_way_;  // last: its thread uses the others
};

}  // namespace leda::checkpoint
