// Writes a whole data set: all ranks work, each on its own shards, and what comes out depends on neither their number
// nor on how often the work was interrupted. dataset.json is written last and marks the set as complete.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "data/shards/shard_format.hpp"
#include "data/shards/slice.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"

namespace leda::data {

inline constexpr const char* kDatasetDescription = "dataset.json";

struct ShardSet {
  std::filesystem::path folder;
  // What makes the slices what they are, "command" first; goes into every shard as its creator and into dataset.json.
  std::vector<std::pair<std::string, std::string>> parameters;
  ShardShape shape;
  std::int64_t num_slices = 0;
  std::int64_t slices_per_shard = 64;
  std::function<Slice(std::int64_t)> slice_at;  // called on one rank for each slice of the shards it writes
  // Asked before each slice, as often on every rank and of one answer on all: true = leave it. May be empty.
  std::function<bool()> should_stop{};
};

// Collective. Keeps complete shards of an interrupted call with the same parameters; throws Error(data) where the
// folder holds shards of another origin. Returns the data set's fingerprint (ShardCatalogue::fingerprint), or nothing
// where should_stop said so: shards begun are taken away, and the next call goes on from those that are complete.
std::string write_shard_set(const ShardSet& set, distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::data
