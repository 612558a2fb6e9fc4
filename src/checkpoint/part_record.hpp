// How ranks that write parts of one checkpoint tell rank 0's writer how it went: by a small sealed file in the folder
// of that checkpoint, because writers make no MPI calls. A record appears whole, under its name, once the parts are on
// the disk and were read back. Free functions.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_folder.hpp"

namespace leda::checkpoint {

struct PartRecord {
  std::vector<ListedFile> files;
  std::string failure;  // why there are none; empty where there are
};

// Error(storage).
void leave_part_record(const std::filesystem::path& folder, int rank, const PartRecord& record);
// Reads the record and removes its file. nullopt: it is not there. Error(storage) where it is damaged.
std::optional<PartRecord> take_part_record(const std::filesystem::path& folder, int rank);

}  // namespace leda::checkpoint
