// How ranks that write parts of one checkpoint tell rank 0's writer how far they are: by small checksummed files beside
// the folder of that checkpoint, because writers make no MPI calls. A record appears whole, under its name. Free
// functions.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_folder.hpp"

namespace leda::checkpoint {

enum class PartStage {
  written,   // all of the rank's files are on the disk
  verified,  // and were read back (or need not be)
};

struct PartRecord {
  std::vector<ListedFile> files;
  std::string failure;  // why there are none; empty where there are
};

// `temporary`: the checkpoint's folder while it is written, the same on every rank. Error(storage).
void leave_part_record(const std::filesystem::path& temporary, int rank, PartStage stage, const PartRecord& record);
// Reads the record and removes its file. nullopt: it is not there. Error(storage) where it is damaged.
std::optional<PartRecord> take_part_record(const std::filesystem::path& temporary, int rank, PartStage stage);
// Of a save that failed.
void remove_part_records(const std::filesystem::path& temporary, int rank);

}  // namespace leda::checkpoint
