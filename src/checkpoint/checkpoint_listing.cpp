#include "checkpoint/checkpoint_listing.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/error.hpp"
#include "checkpoint/checkpoint_folder.hpp"
#include "checkpoint/checksummed_json.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBestName = "best.json";
constexpr const char* kBestFormat = "leda-best-checkpoint";
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

struct BestMark {
  std::int64_t step = 0;
  std::string manifest_checksum;  // empty in format version 1
};

std::optional<BestMark> parse_best(const std::string& text) {
  const auto object = has_valid_checksum(text) ? nlohmann::json::parse(text, nullptr, false) : nlohmann::json();
  if (!object.is_object() || object.value("format", "") != kBestFormat) return std::nullopt;
  return BestMark{.step = object.at("step").get<std::int64_t>(),
                  .manifest_checksum = object.value("manifest_xxh3_64", "")};
}

}  // namespace

fs::path temporary_path(const fs::path& folder, std::int64_t step, const std::string& id) {
  return folder / fmt::format(".{}{}{}", step_folder_name(step), kTemporary, id);
}

fs::path replaced_path(const fs::path& folder, std::int64_t step, const std::string& id) {
  return folder / fmt::format(".{}{}{}", step_folder_name(step), kReplaced, id);
}

std::map<std::int64_t, fs::path> find_checkpoints(const fs::path& folder) {
  std::map<std::int64_t, fs::path> found;
  for (const std::string& name : names_in(folder)) {
    if (const auto step = step_of_folder_name(name)) found.insert_or_assign(*step, folder / name);
    if (const auto step = step_of_replaced(name)) found.emplace(*step, folder / name);
  }
  return found;
}

void remove_leftovers(const fs::path& folder, const fs::path& except, logging::Console& console) {
  const std::string own = except.filename().string();
  const std::vector<std::string> names = names_in(folder);
  // A kill may have come between a rename and its fsync: what is removed has lost its name on the disk, too.
  if (!names.empty()) storage::sync_folder(folder);
  for (const std::string& name : names) {
    if (!own.empty() && name.find(own) != std::string::npos) continue;
    if (const std::optional<std::int64_t> step = step_of_replaced(name)) {
      const fs::path final_path = folder / step_folder_name(*step);
      if (!fs::exists(final_path)) {
        storage::rename_durably(folder / name, final_path);
        continue;
      }
    } else if (!name.starts_with('.') || name.find(kTemporary) == std::string::npos) {
      continue;
    }
    remove_quietly(folder / name);
    console.info(fmt::format("removed {}, left behind by an interrupted save", (folder / name).string()));
  }
}

void remove_quietly(const fs::path& path) {
  std::error_code ignored;
  fs::remove_all(path, ignored);
}

std::set<std::int64_t> steps_to_remove(const std::set<std::int64_t>& steps, std::int64_t newest,
                                       const RetentionPlan& plan) {
  std::set<std::int64_t> leaving;
  int num_kept = 0;
  for (auto step = steps.rbegin(); step != steps.rend(); ++step) {
    if (*step > newest) continue;
    const bool is_good = !plan.damaged.contains(*step);
    const bool is_among_last = is_good && num_kept < plan.keep_last;
    if (is_among_last) ++num_kept;
    const bool is_kept_for_ever = is_good && plan.keep_every > 0 && *step % plan.keep_every == 0;
    if (!is_among_last && !is_kept_for_ever && *step != plan.best) leaving.insert(*step);
  }
  return leaving;
}

void apply_retention(const fs::path& folder, std::int64_t newest, const RetentionPlan& plan, const std::string& id,
                     logging::Console& console) {
  const auto checkpoints = find_checkpoints(folder);
  std::set<std::int64_t> steps;
  for (const auto& [step, path] : checkpoints) steps.insert(step);
  std::vector<fs::path> leaving;
  std::error_code problem;
  for (const std::int64_t step : steps_to_remove(steps, newest, plan)) {
    const fs::path& path = checkpoints.at(step);
    leaving.push_back(temporary_path(folder, step, id));
    fs::rename(path, leaving.back(), problem);
    if (problem) console.warning(fmt::format("cannot remove the old {}: {}", path.string(), problem.message()));
  }
  if (leaving.empty()) return;
  // First the names, on the disk, too, then the content: a checkpoint is never there in part, after a power loss
  // either.
  try {
    storage::sync_folder(folder);
  } catch (const base::Error& error) {
    console.warning(fmt::format("old checkpoints are not removed: {}", error.what()));
    return;
  }
  for (const fs::path& path : leaving) {
    fs::remove_all(path, problem);
    if (problem) console.warning(fmt::format("cannot remove the old {}: {}", path.string(), problem.message()));
  }
}

void write_best(const fs::path& folder, std::int64_t step, logging::Console& console) {
  try {
    const fs::path checkpoint = find_checkpoints(folder).at(step);
    const nlohmann::ordered_json text{
        {"format", kBestFormat}, {"version", 2}, {"step", step}, {"manifest_xxh3_64", manifest_checksum(checkpoint)}};
    storage::write_file_durably(folder / kBestName, add_checksum(text.dump()));
  } catch (const base::Error& error) {
    console.warning(fmt::format("step {} is the best so far, but could not be marked as such: {}", step, error.what()));
  }
}

std::optional<std::int64_t> read_best(const fs::path& folder, logging::Console& console) {
  const fs::path path = folder / kBestName;
  if (!fs::exists(path)) return std::nullopt;
  const auto refuse = [&](const std::string& reason) {
    console.warning(fmt::format("{} {}: no checkpoint is known as the best", path.string(), reason));
    return std::nullopt;
  };
  try {
    const std::optional<BestMark> mark = parse_best(storage::read_text_file(path));
    if (!mark) return refuse("is damaged");
    const auto checkpoints = find_checkpoints(folder);
    const auto marked = checkpoints.find(mark->step);
    if (marked == checkpoints.end()) return refuse(fmt::format("marks step {}, which is not there", mark->step));
    const bool is_same =
        mark->manifest_checksum.empty() || mark->manifest_checksum == manifest_checksum(marked->second);
    if (!is_same) return refuse(fmt::format("marks another run's step {}, or a damaged one", mark->step));
    return mark->step;
  } catch (const base::Error& error) {
    return refuse("cannot be read (" + error.text().value + ")");
  } catch (const nlohmann::json::exception& problem) {
    return refuse(fmt::format("is damaged ({})", problem.what()));
  }
}

}  // namespace leda::checkpoint
