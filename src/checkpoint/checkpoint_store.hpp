// A run's checkpoints on disk: complete, verified, the last few and the best one (docs/formats/checkpoint.md). A
// checkpoint appears under its name by one rename, after all its bytes are on the disk and were read back; a kill at
// any moment leaves the ones before usable. Content has no time, host or path in it: equal training, equal bytes.
// All calls but best_step() are collective: rank 0 alone touches the disk, and every rank returns, or throws, alike.
// One store writes into a folder at a time (RunFolderLock sees to that); reading needs no lock. One thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "checkpoint/checkpoint_content.hpp"
#include "distributed/communicator.hpp"
#include "logging/console.hpp"

namespace leda::checkpoint {

struct CheckpointOptions {
  int keep_last = 3;  // newest checkpoints that are kept (at least 1); the best by validation is kept beside them
};

class CheckpointStore {
 public:
  // Touches nothing on disk but best.json, which it reads. `run_identity`: what must match for a checkpoint to be of
  // this run's networks, opaque here. Communicator and console outlive the store.
  CheckpointStore(std::filesystem::path folder, CheckpointOptions options, std::string run_identity,
                  distributed::Communicator& communicator, logging::Console& console);

  // False: not saved, said as a warning, to be tried again at the next interval. Content is rank 0's; the other
  // ranks' arguments are not looked at. `provenance_json`: a JSON object without a member "checksum", or "".
  bool save(std::int64_t step, const CheckpointContent& content, const std::string& provenance_json);
  // As save, of a finished run; throws Error(storage) on every rank where save would return false.
  void save_last(std::int64_t step, const CheckpointContent& content, const std::string& provenance_json);

  // The newest complete one, the same on every rank; rank 0 reads it. Damaged ones are warned about with the reason
  // and passed over. nullopt: there is none at all. Error(data): some exist and none is usable, or the newest is of
  // another network or of a newer format.
  std::optional<LoadedCheckpoint> load_newest();
  // Error(data) where that step is missing, damaged or of another network.
  LoadedCheckpoint load_step(std::int64_t step);

  // Protects this step from retention, instead of the one that was best before. Call it after save() of that step
  // returned true: Error(internal) where the step is not there.
  void mark_best(std::int64_t step);
  // nullopt: none is marked, or it is no longer there. The same on every rank.
  std::optional<std::int64_t> best_step() const { return best_step_; }

  // Throws Error(storage) if a checkpoint of `expected_bytes` could not be written here: creates the folder, removes
  // what killed saves left behind, probes write, fsync, rename and free space.
  void check_writable(std::uint64_t expected_bytes);

 private:
  // Rank 0's half of the calls above.
  void write_checkpoint(std::int64_t step, bool is_last, const CheckpointContent& content,
                        const std::string& provenance_json);
  void commit(std::int64_t step, const std::filesystem::path& temporary);
  void apply_retention(std::int64_t newest_step);
  void remove_leftovers_once();
  std::optional<LoadedCheckpoint> read_newest();
  std::optional<std::int64_t> read_best();
  std::map<std::int64_t, std::filesystem::path> find_checkpoints() const;
  std::filesystem::path hidden_path(std::int64_t step, std::string_view purpose) const;

  void save_agreed(std::int64_t step, bool is_last, const CheckpointContent& content,
                   const std::string& provenance_json);

  std::filesystem::path folder_;
  CheckpointOptions options_;
  std::string run_identity_;
  distributed::Communicator& communicator_;
  logging::Console& console_;
  std::optional<std::int64_t> best_step_;
  std::set<std::int64_t> damaged_steps_;  // seen by load_newest; they do not count among the last few
  bool leftovers_removed_ = false;
};

}  // namespace leda::checkpoint
