// Which files an archive becomes: one, or, where it is larger than a limit, several, NAME-00001-of-00003.safetensors,
// cut between tensors. The cut depends on sizes and the limit alone, never on the ranks, so that the same content gives
// the same bytes on any number of them; which rank writes which file is dealt out afterwards. Free functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_content.hpp"

namespace leda::checkpoint {

struct ArchiveFile {
  std::string name;
  std::string stem;               // of the archive
  std::size_t first_tensor = 0;   // of the archive's
  std::size_t num_tensors = 0;    // that the file holds
  std::uint64_t value_bytes = 0;  // without the header
};

// Files in the order of archives and of their tensors; each has at least one tensor, unless its archive has none. A
// tensor above `max_file_bytes` of values has a file of its own.
std::vector<ArchiveFile> plan_files(const CheckpointContent& content, std::uint64_t max_file_bytes);

// The rank that writes each file: rank 0 all of them where no archive was split, else one after the other over
// `writers`, ranks in the order in which they are given work.
std::vector<int> deal_files(const std::vector<ArchiveFile>& files, const std::vector<int>& writers);
// Ranks with one of each host first: `local_ranks` by rank.
std::vector<int> writing_order(const std::vector<int>& local_ranks);

// What `file` holds, with the archive's metadata; tensors are shared, not copied.
storage::TensorArchive part_of(const CheckpointContent& content, const ArchiveFile& file);

struct ArchiveFileName {
  std::string stem;
  int part = 1;  // from 1
  int num_parts = 1;
};

// nullopt: no archive's name. Where `has_parts` is not set, "-00001-of-00003" is part of the stem (format version 1).
std::optional<ArchiveFileName> parse_archive_file_name(const std::string& name, bool has_parts);

}  // namespace leda::checkpoint
