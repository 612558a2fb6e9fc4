#include "checkpoint/checkpoint_store.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <cassert>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/rank_zero.hpp"
#include "checkpoint/sealed_json.hpp"
#include "checkpoint/write_probe.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBestName = "best.json";
constexpr const char* kBestFormat = "leda-best-checkpoint";
// Hidden names: `.step_00000500_tmp-PID` holds what is being written or deleted, `.step_00000500_replaced-PID` a
// checkpoint while another one of the same step takes its name.
constexpr std::string_view kTemporary = "_tmp-";
constexpr std::string_view kReplaced = "_replaced-";

// The step of a checkpoint that was moved aside for another of the same step, if that is what the name says.
std::optional<std::int64_t> step_of_replaced(const std::string& name) {
  const std::size_t end = name.find(kReplaced);
  if (!name.starts_with('.') || end == std::string::npos) return std::nullopt;
  return step_of_folder_name(name.substr(1, end - 1));
}

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  if (!fs::exists(folder)) return names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

base::Error none_usable(const fs::path& folder, const std::string& reasons) {
  return {base::ExitCode::data,
          {.what = fmt::format("no checkpoint in {} is usable", folder.string()),
           .value = reasons,
           .why = "starting from the beginning would lose the run in silence",
           .remedy = "restore the folder from a copy, or start a new run (--new-run)"}};
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path folder, CheckpointOptions options, std::string run_identity,
                                 distributed::Communicator& communicator, logging::Console& console)
    : folder_(std::move(folder)),
      options_(options),
      run_identity_(std::move(run_identity)),
      communicator_(communicator),
      console_(console) {
  assert(options_.keep_last >= 1);
  const std::string best = on_rank_zero(communicator_, [this] {
    const std::optional<std::int64_t> step = read_best();
    return step ? step_folder_name(*step) : std::string();
  });
  best_step_ = step_of_folder_name(best);
}

bool CheckpointStore::save(std::int64_t step, const CheckpointContent& content, const std::string& provenance_json) {
  try {
    save_agreed(step, false, content, provenance_json);
    return true;
  } catch (const base::Error& error) {
    if (error.exit_code() != base::ExitCode::storage) throw;
    console_.warn(fmt::format("step {} was not saved, the next interval tries again: {}", step, error.what()));
    return false;
  }
}

void CheckpointStore::save_last(std::int64_t step, const CheckpointContent& content,
                                const std::string& provenance_json) {
  save_agreed(step, true, content, provenance_json);
}

void CheckpointStore::save_agreed(std::int64_t step, bool is_last, const CheckpointContent& content,
                                  const std::string& provenance_json) {
  on_rank_zero(communicator_, [&] {
    write_checkpoint(step, is_last, content, provenance_json);
    return std::string();
  });
}

std::optional<LoadedCheckpoint> CheckpointStore::load_newest() {
  std::optional<LoadedCheckpoint> checkpoint;
  const std::string found = on_rank_zero(communicator_, [&] {
    checkpoint = read_newest();
    return checkpoint ? "one" : "none";
  });
  if (found == "none") return std::nullopt;
  if (!checkpoint) checkpoint.emplace();
  broadcast_checkpoint(communicator_, *checkpoint);
  return checkpoint;
}

LoadedCheckpoint CheckpointStore::load_step(std::int64_t step) {
  LoadedCheckpoint checkpoint;
  on_rank_zero(communicator_, [&] {
    const auto found = find_checkpoints();
    const auto place = found.find(step);
    const fs::path path = place == found.end() ? folder_ / step_folder_name(step) : place->second;
    try {
      checkpoint = read_checkpoint_folder(path, step, run_identity_);
    } catch (const Damage& damage) {
      throw none_usable(folder_, fmt::format("step {}: {}", step, damage.what()));
    }
    return std::string();
  });
  broadcast_checkpoint(communicator_, checkpoint);
  return checkpoint;
}

void CheckpointStore::mark_best(std::int64_t step) {
  on_rank_zero(communicator_, [&] {
    if (!find_checkpoints().contains(step)) {
      throw base::Error(base::ExitCode::internal, {.what = fmt::format("step {} is marked best, but not saved", step),
                                                   .value = "",
                                                   .why = "no checkpoint would be protected",
                                                   .remedy = "this is a mistake of the program: please report it"});
    }
    const nlohmann::ordered_json text{{"format", kBestFormat}, {"version", 1}, {"step", step}};
    try {
      storage::write_file_durably(folder_ / kBestName, seal_json(text.dump()));
    } catch (const base::Error& error) {
      console_.warn(fmt::format("step {} is the best so far; that could not be written down: {}", step, error.what()));
    }
    return std::string();
  });
  best_step_ = step;
}

void CheckpointStore::check_writable(std::uint64_t expected_bytes) {
  on_rank_zero(communicator_, [&] {
    create_folder_durably(folder_);
    remove_leftovers_once();
    probe_writing(folder_, expected_bytes);
    return std::string();
  });
}

void CheckpointStore::write_checkpoint(std::int64_t step, bool is_last, const CheckpointContent& content,
                                       const std::string& provenance_json) {
  create_folder_durably(folder_);
  remove_leftovers_once();
  const fs::path temporary = hidden_path(step, kTemporary);
  remove_quietly(temporary);
  try {
    const Manifest head{.step = step, .is_last = is_last, .run_identity = run_identity_, .files = {}};
    communicator_.note(fmt::format("checkpoint of step {}: writes", step));
    write_checkpoint_folder(temporary, head, content, provenance_json);
    communicator_.note(fmt::format("checkpoint of step {}: verifies", step));
    verify_checkpoint_folder(temporary, step, true);
    commit(step, temporary);
  } catch (const Damage& damage) {
    remove_quietly(temporary);
    throw base::Error(base::ExitCode::storage,
                      {.what = fmt::format("{} was written and reads back differently", temporary.string()),
                       .value = damage.what(),
                       .why = "the disk or its file system damages data",
                       .remedy = "choose a folder in another file system"});
  } catch (...) {
    remove_quietly(temporary);
    throw;
  }
  damaged_steps_.erase(step);
  apply_retention(step);
}

// Gives the finished folder its name. A checkpoint of this step that is there already stays, if it is complete and
// the same; otherwise it is moved aside under a name that readers know, so that no moment is without one of the two.
void CheckpointStore::commit(std::int64_t step, const fs::path& temporary) {
  const fs::path final_path = folder_ / step_folder_name(step);
  if (!fs::exists(final_path)) return storage::rename_durably(temporary, final_path);
  if (is_same_checkpoint(final_path, temporary, step)) return remove_quietly(temporary);
  const fs::path replaced = hidden_path(step, kReplaced);
  storage::rename_durably(final_path, replaced);
  try {
    storage::rename_durably(temporary, final_path);
  } catch (...) {
    if (!fs::exists(final_path)) std::rename(replaced.c_str(), final_path.c_str());
    throw;
  }
  remove_quietly(replaced);
}

// Steps after `newest_step` are none of its business: they were damaged when the run started, and it will get there.
void CheckpointStore::apply_retention(std::int64_t newest_step) {
  int num_kept = 0;
  const auto checkpoints = find_checkpoints();
  for (auto entry = checkpoints.rbegin(); entry != checkpoints.rend(); ++entry) {
    const auto& [step, path] = *entry;
    if (step > newest_step) continue;
    const bool is_among_last = !damaged_steps_.contains(step) && num_kept < options_.keep_last;
    if (is_among_last) ++num_kept;
    if (is_among_last || step == best_step_) continue;
    // First the name, then the content: a checkpoint is never there in part.
    const fs::path leaving = hidden_path(step, kTemporary);
    std::error_code problem;
    fs::rename(path, leaving, problem);
    if (!problem) fs::remove_all(leaving, problem);
    if (problem) console_.warn(fmt::format("cannot remove the old {}: {}", path.string(), problem.message()));
  }
}

// Not when constructed: a store that only reads may look at the folder of a run that is just saving.
void CheckpointStore::remove_leftovers_once() {
  if (std::exchange(leftovers_removed_, true)) return;
  for (const std::string& name : names_in(folder_)) {
    if (const std::optional<std::int64_t> step = step_of_replaced(name)) {
      const fs::path final_path = folder_ / step_folder_name(*step);
      if (!fs::exists(final_path)) {
        storage::rename_durably(folder_ / name, final_path);
        continue;
      }
    } else if (!name.starts_with('.') || name.find(kTemporary) == std::string::npos) {
      continue;
    }
    remove_quietly(folder_ / name);
    console_.say(fmt::format("removed {}, left behind by a save that was cut short", (folder_ / name).string()));
  }
}

std::optional<LoadedCheckpoint> CheckpointStore::read_newest() {
  const auto checkpoints = find_checkpoints();
  std::string reasons;
  for (auto entry = checkpoints.rbegin(); entry != checkpoints.rend(); ++entry) {
    const auto& [step, path] = *entry;
    try {
      return read_checkpoint_folder(path, step, run_identity_);
    } catch (const Damage& damage) {
      damaged_steps_.insert(step);
      console_.warn(fmt::format("passing over the damaged checkpoint {}: {}", path.string(), damage.what()));
      reasons += fmt::format("{}step {}: {}", reasons.empty() ? "" : "; ", step, damage.what());
    }
  }
  if (checkpoints.empty()) return std::nullopt;
  throw none_usable(folder_, reasons);
}

std::optional<std::int64_t> CheckpointStore::read_best() {
  const fs::path path = folder_ / kBestName;
  if (!fs::exists(path)) return std::nullopt;
  const std::string text = storage::read_text_file(path);
  const auto object = is_seal_intact(text) ? nlohmann::json::parse(text, nullptr, false) : nlohmann::json();
  if (!object.is_object() || object.value("format", "") != kBestFormat) {
    console_.warn(fmt::format("{} is damaged: no checkpoint is known as the best", path.string()));
    return std::nullopt;
  }
  const auto step = object.at("step").get<std::int64_t>();
  return find_checkpoints().contains(step) ? std::optional(step) : std::nullopt;
}

std::map<std::int64_t, fs::path> CheckpointStore::find_checkpoints() const {
  std::map<std::int64_t, fs::path> found;
  for (const std::string& name : names_in(folder_)) {
    if (const auto step = step_of_folder_name(name)) found.insert_or_assign(*step, folder_ / name);
    if (const auto step = step_of_replaced(name)) found.emplace(*step, folder_ / name);
  }
  return found;
}

fs::path CheckpointStore::hidden_path(std::int64_t step, std::string_view purpose) const {
  return folder_ / fmt::format(".{}{}{}", step_folder_name(step), purpose, getpid());
}

}  // namespace leda::checkpoint
