#include "checkpoint/run_folder.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "checkpoint/write_probe.hpp"
#include "distributed/core/host_name.hpp"
#include "distributed/core/rank_zero.hpp"
#include "storage/durable_file.hpp"

namespace leda::checkpoint {
namespace {

constexpr const char* kLockName = "lock.json";

std::string own_description() {
  const char* job = std::getenv("SLURM_JOB_ID");
  const nlohmann::ordered_json object{{"host", distributed::host_name()},
                                      {"process_id", getpid()},
                                      {"job_id", job == nullptr ? "" : job},
                                      {"started", base::utc_now()}};
  return object.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// The owner in words. Its file may be half written: the lock counts, the text only informs.
std::string describe_owner(const std::string& text) {
  const auto object = nlohmann::json::parse(text, nullptr, false);
  if (!object.is_object()) return "a process that has not written its name yet";
  const auto field = [&object](const char* key) {
    if (!object.contains(key)) return std::string("?");
    return object[key].is_string() ? object[key].get<std::string>() : object[key].dump();
  };
  const std::string job = field("job_id");
  return fmt::format("process {} on host {}{}, started {}", field("process_id"), field("host"),
                     job.empty() ? "" : fmt::format(" (job {})", job), field("started"));
}

base::Error in_use(const std::filesystem::path& run_folder, const std::string& owner) {
  return {base::ExitCode::storage,
          {.what = fmt::format("run folder {} is in use", run_folder.string()),
           .value = fmt::format("by {}", owner),
           .why = "two runs in one folder would overwrite each other's checkpoints",
           .remedy = "wait for that run or stop it, or start in another folder (--new-run, run.folder)"}};
}

void write_description(int descriptor, const std::filesystem::path& path) {
  const std::string text = own_description();
  const bool failed = ftruncate(descriptor, 0) != 0 ||
                      pwrite(descriptor, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()) ||
                      fsync(descriptor) != 0;
  if (failed) throw storage::storage_error("cannot write", path, errno);
}

// Takes the lock or throws; the descriptor holds it until it is closed. Not inherited by programs that are started.
int take_lock(const std::filesystem::path& run_folder, logging::Console& console) {
  create_folder_durably(run_folder);
  const std::filesystem::path path = run_folder / kLockName;
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor < 0) throw storage::storage_error("cannot create", path, errno);
  try {
    const int error_number = flock(descriptor, LOCK_EX | LOCK_NB) == 0 ? 0 : errno;
    const std::string text = storage::read_text_file(path);
    if (error_number == EWOULDBLOCK) throw in_use(run_folder, describe_owner(text));
    if (error_number != 0) {
      console.warning(fmt::format("{} cannot be locked ({}): a second run in this folder would not be noticed",
                                  path.string(), std::generic_category().message(error_number)));
    } else if (!text.empty()) {
      console.info(fmt::format("taking over the stale lock of {}: it ended without releasing {}", describe_owner(text),
                               run_folder.string()));
    }
    write_description(descriptor, path);
  } catch (...) {
    close(descriptor);
    throw;
  }
  return descriptor;
}

// The N of `name`-N for N of 2 and up, 1 for `name` itself.
std::optional<int> number_of(const std::string& candidate, const std::string& name) {
  if (candidate == name) return 1;
  if (!candidate.starts_with(name + "-")) return std::nullopt;
  const char* begin = candidate.data() + name.size() + 1;
  const char* end = candidate.data() + candidate.size();
  int number = 0;
  const auto [rest, error] = std::from_chars(begin, end, number);
  const bool is_number = error == std::errc() && rest == end && *begin != '0' && number >= 2;
  return is_number ? std::optional(number) : std::nullopt;
}

// 0 where there is none.
int newest_number(const std::filesystem::path& base) {
  const std::filesystem::path parent = base.has_parent_path() ? base.parent_path() : std::filesystem::path(".");
  int newest = 0;
  if (!std::filesystem::exists(parent)) return newest;
  for (const std::filesystem::directory_entry& entry : std::filesystem::directory_iterator(parent)) {
    const std::optional<int> number = number_of(entry.path().filename().string(), base.filename().string());
    newest = std::max(newest, number.value_or(0));
  }
  return newest;
}

}  // namespace

RunFolderLock::RunFolderLock(const std::filesystem::path& run_folder, distributed::Communicator& communicator,
                             logging::Console& console) {
  distributed::on_rank_zero(communicator, [&] {
    descriptor_ = take_lock(run_folder, console);
    return std::string();
  });
}

RunFolderLock::~RunFolderLock() {
  if (descriptor_ < 0) return;
  // An empty file says that the run left in order. Where that fails, the next start says "stale", no more.
  [[maybe_unused]] const int result = ftruncate(descriptor_, 0);
  close(descriptor_);
}

std::filesystem::path choose_run_folder(const std::filesystem::path& base, bool new_run,
                                        distributed::Communicator& communicator) {
  std::filesystem::path stem = base.lexically_normal();
  if (!stem.has_filename()) stem = stem.parent_path();  // "runs/quickstart/"
  const std::string answer = distributed::on_rank_zero(communicator, [&] {
    const int newest = newest_number(stem);
    return std::to_string(new_run ? newest + 1 : std::max(newest, 1));
  });
  return answer == "1" ? stem : stem.parent_path() / fmt::format("{}-{}", stem.filename().string(), answer);
}

}  // namespace leda::checkpoint
