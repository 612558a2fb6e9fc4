#include "training/run/run_options_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

#include "base/error.hpp"
#include "storage/durable_file.hpp"

namespace leda::training {
namespace {

std::string as_text(const OptionValues& values) {
  std::string text;
  for (const OptionValue& option : values) text += fmt::format("{} = {}\n", option.name, option.value);
  return text;
}

std::map<std::string, std::string> parsed(const std::string& text) {
  std::map<std::string, std::string> values;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t equals = line.find(" =");
    if (equals == std::string::npos) continue;
    values[line.substr(0, equals)] = line.size() > equals + 3 ? line.substr(equals + 3) : "";
  }
  return values;
}

// One line per option that changed and may not; empty if none did.
std::string forbidden_changes(const std::map<std::string, std::string>& before, const OptionValues& now) {
  std::string changes;
  for (const OptionValue& option : now) {
    const auto old = before.find(option.name);
    if (old == before.end() || old->second == option.value || option.may_change_on_resume) continue;
    changes += fmt::format("\n    {}: was '{}', is '{}'", option.name, old->second, option.value);
  }
  return changes;
}

// A run that has none has nothing to contradict: its options may still be corrected.
bool has_checkpoint(const std::filesystem::path& run_folder) {
  for (const auto& training : std::filesystem::directory_iterator(run_folder)) {
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(training.path() / "checkpoints", ignored)) {
      if (entry.path().filename().string().starts_with("step_")) return true;
    }
  }
  return false;
}

}  // namespace

void keep_run_options(const std::filesystem::path& run_folder, const OptionValues& values,
                      distributed::Communicator& communicator) {
  const std::filesystem::path file = run_folder / "options.cfg";
  std::string before;
  if (communicator.rank() == 0 && std::filesystem::exists(file) && has_checkpoint(run_folder)) {
    before = storage::read_text_file(file);
  }
  before = distributed::broadcast_text(communicator, before, 0);
  const std::string changes = before.empty() ? "" : forbidden_changes(parsed(before), values);
  if (!changes.empty()) {
    throw base::ErrorOnAllRanks(
        base::ExitCode::options,
        {.what = fmt::format("the run in {} was started with other options", run_folder.string()),
         .value = changes,
         .why = "a run that goes on under other options is neither the old one nor the new one",
         .remedy = "take the old values back, or start a new run beside it with --new-run"});
  }
  if (communicator.rank() == 0) storage::write_file_durably(file, as_text(values));
}

void require_equal_options(const OptionValues& values, distributed::Communicator& communicator) {
  const std::vector<std::string> texts = distributed::all_gather_texts(communicator, as_text(values));
  const auto odd = std::find_if(texts.begin(), texts.end(), [&](const std::string& text) { return text != texts[0]; });
  if (odd == texts.end()) return;
  const auto expected = parsed(texts[0]);
  std::string difference;
  for (const auto& [name, value] : parsed(*odd)) {
    const auto found = expected.find(name);
    if (difference.empty() && found != expected.end() && found->second != value) {
      difference = fmt::format("{} = '{}', on rank 0 '{}'", name, value, found->second);
    }
  }
  throw base::ErrorOnAllRanks(base::ExitCode::communication,
                              {.what = fmt::format("rank {} was started with other options", odd - texts.begin()),
                               .value = difference,
                               .why = "ranks would train different things and average them",
                               .remedy = "start all ranks with one command line and one option file"});
}

}  // namespace leda::training
