#include "distributed/watch/watchdog.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/clock.hpp"
#include "distributed/core/host_name.hpp"

namespace leda::distributed {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// After its own report before exit a rank gives the others this long to write theirs.
constexpr double kGraceSeconds = 1.0;
// Ranks come to their diagnosis together; each lets those before it report.
constexpr double kTurnSeconds = 0.3;
constexpr double kSecondsToEnd = 3.0;
// A wait that asks takes more of its time than this even where it pauses between; a signal's handler takes less.
constexpr double kAsleepShare = 1e-3;
constexpr const char* kVerdictName = "verdict.txt";

const char* state_name(EventState state) {
  switch (state) {
    case EventState::note:
      return "note";
    case EventState::begun:
      return "begun";
    case EventState::finished:
      return "finished";
  }
  return "";
}

Json events_json(const std::vector<JournalEvent>& events) {
  Json list = Json::array();
  for (const JournalEvent& event : events) {
    list.push_back({{"unix_seconds", event.unix_seconds}, {"state", state_name(event.state)}, {"text", event.text}});
    if (event.sequence != 0) list.back()["collective"] = event.sequence;
  }
  return list;
}

std::string last_event_text(const JournalSnapshot& snapshot) {
  if (snapshot.events.empty()) return "none yet";
  const JournalEvent& last = snapshot.events.back();
  if (last.state == EventState::note) return last.text;
  const std::string text = fmt::format("collective {}, {}, {}", last.sequence, last.text, state_name(last.state));
  return snapshot.last_note.empty() ? text : fmt::format("{} (after: {})", text, snapshot.last_note);
}

std::string last_collective_text(const JournalSnapshot& snapshot) {
  const auto is_begun = [](const JournalEvent& event) { return event.state == EventState::begun; };
  const auto last = std::find_if(snapshot.events.rbegin(), snapshot.events.rend(), is_begun);
  return last == snapshot.events.rend() ? last_event_text(snapshot) : last->text;
}

// By another name first: a reader sees the old text or the new one. Not storage/'s durable file: a rank that is about
// to be ended does not wait for the disk.
bool replace_file(const fs::path& path, const std::string& text) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const fs::path temporary = path.string() + fmt::format(".tmp-{}-{}", getpid(), gettid());
  std::ofstream stream(temporary, std::ios::binary);
  stream << text << '\n';
  stream.close();
  if (!stream) return false;
  fs::rename(temporary, path, error);
  return !error;
}

Json read_json(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream text;
  text << stream.rdbuf();
  return Json::parse(text.str(), nullptr, /*allow_exceptions=*/false);
}

}  // namespace

Watchdog::Watchdog(const CollectiveJournal& journal, WatchdogOptions options,
                   std::function<void(const base::Error&)> end_job)
    : journal_(journal),
      options_(std::move(options)),
      end_job_(std::move(end_job)),
      tick_seconds_(std::clamp(options_.timeout_seconds / 40.0, 0.02, 0.5)),
      start_unix_seconds_(base::unix_seconds()),
      thread_([this] { watch(); }) {}

Watchdog::~Watchdog() {
  {
    const std::scoped_lock lock(mutex_);
    is_ending_ = true;
  }
  ended_.notify_all();
  thread_.join();
  std::error_code ignored;
  if (has_heartbeat_ && !has_reported_before_exit_) fs::remove(heartbeat_path(options_.rank), ignored);
}

// False where the watchdog is to end.
bool Watchdog::sleep(double seconds) {
  std::unique_lock lock(mutex_);
  return !ended_.wait_for(lock, std::chrono::duration<double>(seconds), [this] { return is_ending_; });
}

void Watchdog::watch() {
  base::Stopwatch stopwatch;
  while (sleep(tick_seconds_)) {
    count_time(std::exchange(stopwatch, {}).seconds());
    if (silent_seconds_ < options_.timeout_seconds) continue;
    if (const std::optional<base::Error> error = judge()) {
      end_job_(*error);
      return;
    }
    stopwatch = {};
  }
}

void Watchdog::count_time(double seconds) {
  // A late tick means that this process did not run. It may be the whole job: the time is nobody's silence.
  const double counted = std::min(seconds, 3.0 * tick_seconds_);
  const bool is_quiet = std::exchange(last_events_, journal_.num_events()) == journal_.num_events();
  const bool is_in_step = std::exchange(last_finished_, journal_.num_finished()) != journal_.num_finished();
  silent_seconds_ = is_quiet ? silent_seconds_.load() + counted : 0.0;
  seconds_since_collective_ = is_in_step ? 0.0 : seconds_since_collective_ + counted;
  seconds_since_heartbeat_ += counted;
  count_sleep(counted);
  if (!is_quiet || seconds > counted + 1.0) is_heartbeat_outdated_ = true;
  if (options_.folder.empty()) return;
  if (is_in_step && has_heartbeat_ && !has_reported_before_exit_) {
    std::error_code ignored;
    fs::remove(heartbeat_path(options_.rank), ignored);
    has_heartbeat_ = false;
  }
  keep_heartbeat_current(is_quiet);
}

void Watchdog::count_sleep(double seconds) {
  const std::optional<double> before = std::exchange(processor_seconds_, journal_.blocked_processor_seconds());
  const bool is_asleep = before && processor_seconds_ && *processor_seconds_ - *before < kAsleepShare * seconds;
  asleep_seconds_ = is_asleep ? asleep_seconds_ + seconds : 0.0;
}

// At once when the rank falls quiet, and again and again for as long as it meets no other rank.
void Watchdog::keep_heartbeat_current(bool is_quiet) {
  const double timeout = options_.timeout_seconds;
  if (seconds_since_collective_ < timeout / 4.0) return;
  if ((is_heartbeat_outdated_ && is_quiet) || seconds_since_heartbeat_ > timeout / 8.0) write_heartbeat(false);
}

fs::path Watchdog::heartbeat_path(int rank) const { return options_.folder / fmt::format("rank_{}.json", rank); }

std::string Watchdog::heartbeat_text(bool with_events) const {
  const JournalSnapshot snapshot = journal_.snapshot();
  const bool waits_on_device = !snapshot.waits_in && has_reported_before_exit_;
  const bool is_waiting = snapshot.waits_in || waits_on_device;
  Json heartbeat = {{"rank", options_.rank},
                    {"host", host_name()},
                    {"process", getpid()},
                    {"written_unix_seconds", base::unix_seconds()},
                    {"silent_seconds", silent_seconds_.load()},
                    {"is_waiting", is_waiting},
                    {"asleep_seconds", asleep_seconds_.load()},
                    {"collective", snapshot.waits_in ? snapshot.waits_in->sequence : snapshot.num_begun},
                    {"doing", snapshot.waits_in ? snapshot.waits_in->text
                              : waits_on_device ? last_collective_text(snapshot)
                                                : last_event_text(snapshot)},
                    {"last_note", snapshot.last_note}};
  if (with_events) heartbeat["events"] = events_json(snapshot.events);
  return heartbeat.dump(1, ' ', false, Json::error_handler_t::replace);
}

bool Watchdog::write_heartbeat(bool with_events) {
  seconds_since_heartbeat_ = 0.0;
  is_heartbeat_outdated_ = false;
  has_heartbeat_ =
      replace_file(heartbeat_path(options_.rank), heartbeat_text(with_events || has_reported_before_exit_));
  return has_heartbeat_;
}

std::string Watchdog::report_before_exit() {
  if (options_.folder.empty()) return {};
  has_reported_before_exit_ = true;
  const std::string text = heartbeat_text(/*with_events=*/true);
  if (!replace_file(heartbeat_path(options_.rank), text)) return {};
  // Not the watchdog's own sleep: this rank ends whether or not the watchdog does.
  std::this_thread::sleep_for(std::chrono::duration<double>(kGraceSeconds));
  const HangDiagnosis diagnosis = diagnose_hang(read_heartbeats(), options_.timeout_seconds, kGraceSeconds);
  if (diagnosis.culprits.empty()) return "a rank is still at work";
  return fmt::format("{} ({})", diagnosis.what, diagnosis.value);
}

// Heartbeats of an earlier start of the job are none, nor are old ones: a watchdog that runs keeps its own current.
std::vector<std::optional<Heartbeat>> Watchdog::read_heartbeats() const {
  std::vector<std::optional<Heartbeat>> heartbeats(static_cast<std::size_t>(options_.num_ranks));
  const double now = base::unix_seconds();
  for (int rank = 0; rank < options_.num_ranks; ++rank) {
    const Json heartbeat = read_json(heartbeat_path(rank));
    if (!heartbeat.is_object()) continue;
    const double written = heartbeat.value("written_unix_seconds", 0.0);
    const bool is_of_this_start = written >= start_unix_seconds_ - 1.0;
    if (!is_of_this_start || now - written > options_.timeout_seconds / 4.0 + kGraceSeconds) continue;
    heartbeats[static_cast<std::size_t>(rank)] = {
        .silent_seconds = heartbeat.value("silent_seconds", 0.0) + now - written,
        .is_waiting = heartbeat.value("is_waiting", false),
        .asleep_seconds = heartbeat.value("asleep_seconds", 0.0),
        .sequence = heartbeat.value("collective", std::int64_t{0}),
        .doing = heartbeat.value("doing", "")};
  }
  return heartbeats;
}

bool Watchdog::somebody_has_reported() const {
  const Json diagnosis = read_json(options_.folder / kVerdictName);
  return diagnosis.is_object() && diagnosis.value("unix_seconds", 0.0) >= start_unix_seconds_;
}

// Nothing where the rank turns out to be alive, or waits for one that is busy.
std::optional<base::Error> Watchdog::judge() {
  if (options_.folder.empty()) return blind_diagnosis("");
  if (!write_heartbeat(true)) {
    return blind_diagnosis(fmt::format("; its events could not be written to {}", options_.folder.string()));
  }
  if (!sleep(kGraceSeconds)) return std::nullopt;
  if (journal_.num_events() != last_events_) return std::nullopt;
  const std::vector<std::optional<Heartbeat>> heartbeats = read_heartbeats();
  const HangDiagnosis diagnosis =
      diagnose_hang(heartbeats, options_.timeout_seconds, kGraceSeconds + 2.0 * tick_seconds_);
  if (diagnosis.culprits.empty()) {
    silent_seconds_ = std::min(silent_seconds_.load(), diagnosis.busy_silent_seconds);
    return std::nullopt;
  }
  return report_in_turn(diagnosis, heartbeats);
}

std::optional<base::Error> Watchdog::report_in_turn(const HangDiagnosis& diagnosis,
                                                    const std::vector<std::optional<Heartbeat>>& heartbeats) {
  const auto mine = heartbeats.begin() + options_.rank;
  const auto before =
      std::count_if(heartbeats.begin(), mine, [](const auto& heartbeat) { return heartbeat.has_value(); });
  for (auto turn = before; turn > 0; --turn) {
    if (!sleep(kTurnSeconds)) return std::nullopt;
    if (somebody_has_reported()) {
      // The job is being ended: this rank's end is only for the case that nothing comes of it.
      sleep(kSecondsToEnd);
      break;
    }
    if (turn > 4) turn = 4;
  }
  replace_file(options_.folder / kVerdictName, Json({{"unix_seconds", base::unix_seconds()},
                                                     {"rank", options_.rank},
                                                     {"what", diagnosis.what},
                                                     {"value", diagnosis.value}})
                                                   .dump(1, ' ', false, Json::error_handler_t::replace));
  return base::Error(base::ExitCode::communication,
                     {.what = fmt::format("{} for {:.0f} s (distributed.timeout_seconds = {:g})", diagnosis.what,
                                          silent_seconds_.load(), options_.timeout_seconds),
                      .value = diagnosis.value,
                      .why = "the others would wait for ever",
                      .remedy = fmt::format(
                          "read the last events of each rank in {}; look at that rank's host; start the same command "
                          "again, it resumes from its last checkpoint; raise distributed.timeout_seconds if the "
                          "work was only slow",
                          options_.folder.string())});
}

base::Error Watchdog::blind_diagnosis(const std::string& reason) const {
  const JournalSnapshot snapshot = journal_.snapshot();
  return {base::ExitCode::communication,
          {.what = fmt::format("rank {} has stood still for {:.0f} s{}", options_.rank, silent_seconds_.load(), reason),
           .value = snapshot.waits_in ? "waits for the other ranks in " + snapshot.waits_in->text
                                      : "at work; its last event: " + last_event_text(snapshot),
           .why = "it may wait for ever",
           .remedy = "look whether all ranks run; start the same command again"}};
}

}  // namespace leda::distributed
