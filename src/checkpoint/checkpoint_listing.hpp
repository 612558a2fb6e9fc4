// What lies in a run's folder of checkpoints: their names, the hidden names of saves under way or cut short, and the
// mark of the best one (docs/formats/checkpoint.md). Free functions of rank 0.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "logging/console.hpp"

namespace leda::checkpoint {

// Hidden names: `.step_00000500_tmp-ID` holds what is being written or deleted, `.step_00000500_replaced-ID` a
// checkpoint while another one of the same step takes its name. An ID is of one save alone.
std::filesystem::path temporary_path(const std::filesystem::path& folder, std::int64_t step, const std::string& id);
std::filesystem::path replaced_path(const std::filesystem::path& folder, std::int64_t step, const std::string& id);

// By step. A missing folder has none.
std::map<std::int64_t, std::filesystem::path> find_checkpoints(const std::filesystem::path& folder);

// What killed saves left behind, `except` and files that carry its name excepted (other ranks may be writing them);
// each is said. A checkpoint that was moved aside for another that never came takes its name back. Error(storage) where
// that fails.
void remove_leftovers(const std::filesystem::path& folder, const std::filesystem::path& except,
                      logging::Console& console);

// Without an error where nothing is there or nothing can be done.
void remove_quietly(const std::filesystem::path& path);

// Which checkpoints stay.
struct RetentionPlan {
  int keep_last = 3;                 // newest ones (at least 1), damaged ones not counted
  std::int64_t keep_every = 0;       // and every one whose step is a multiple of this; 0 = none
  std::optional<std::int64_t> best;  // and this one
  std::set<std::int64_t> damaged;
};

// Steps to remove, of `steps` (ascending), after `newest` was saved. Later steps are none of its business: they were
// damaged when the run started, and it will get there.
std::set<std::int64_t> steps_to_remove(const std::set<std::int64_t>& steps, std::int64_t newest,
                                       const RetentionPlan& plan);
// Removes them, each from under its name at once, never in part. What cannot be removed is warned about.
void apply_retention(const std::filesystem::path& folder, std::int64_t newest, const RetentionPlan& plan,
                     const std::string& id, logging::Console& console);

// Marks the checkpoint of `step`, which is there, as the best: the mark holds for the very bytes that are there now.
// A mark that cannot be written is warned about.
void write_best(const std::filesystem::path& folder, std::int64_t step, logging::Console& console);
// nullopt: none is marked. A damaged mark, and one of a checkpoint that is not there (any more), is warned about.
std::optional<std::int64_t> read_best(const std::filesystem::path& folder, logging::Console& console);

}  // namespace leda::checkpoint
