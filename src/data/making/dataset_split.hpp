// A data set into train, validation and test sets that share no patient; for a single patient, contiguous blocks of
// slices with a gap between them.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "data/shards/shard_catalogue.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

inline constexpr std::array<const char*, 3> kSplitNames{"train", "validation", "test"};

// One way at a time: slices, else patients, else fractions. Lists are in the order of kSplitNames.
struct SplitOptions {
  std::string input;
  std::string output;  // folder; the sets become its subfolders
  std::vector<double> fractions{0.8, 0.1, 0.1};
  std::vector<int> patients;        // how many patients each set takes
  std::vector<std::string> slices;  // FIRST:LAST slice ids, LAST excluded, joined by +; "-": no set
  std::int64_t gap = 5;             // slices left out between blocks of one patient
  std::uint64_t seed = 1;           // which patients go where
  std::int64_t slices_per_shard = 32;
};

// Slice ids of each set, ascending. Throws Error(options) where the wish cannot be met.
std::array<std::vector<std::int64_t>, 3> plan_split(const ShardCatalogue& catalogue, const SplitOptions& options);
// Collective. False where `should_stop`, as of ShardSet, said so.
bool split_dataset(const SplitOptions& options, distributed::Communicator& communicator, logging::Console& console,
                   const std::function<bool()>& should_stop = {});

}  // namespace leda::data
