// One run, one folder: which folder a start uses, and the lock that refuses a second run in it.
#pragma once

#include <filesystem>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::checkpoint {

// Held from construction to destruction, in effect by an flock on `lock.json`, whose text says who holds it: host,
// process, job, start. The kernel frees the flock of a dead process, so a killed run never blocks the next one.
// Collective; rank 0 holds the lock for all. Not copied, not moved; no threads of its own.
class RunFolderLock {
 public:
  // Creates the folder. Error(storage) on every rank: in use by another run (named), or not to be created or written.
  RunFolderLock(const std::filesystem::path& run_folder, distributed::Communicator& communicator,
                logging::Console& console);
  ~RunFolderLock();
  RunFolderLock(const RunFolderLock&) = delete;
  RunFolderLock& operator=(const RunFolderLock&) = delete;

 private:
  int descriptor_ = -1;  // rank 0's
};

// The newest of `base`, `base-2`, `base-3`, ... that exists, or `base`; with `new_run` the number after the newest.
// Collective: rank 0 looks, every rank gets its answer.
std::filesystem::path choose_run_folder(const std::filesystem::path& base, bool new_run,
                                        distributed::Communicator& communicator);

}  // namespace leda::checkpoint
