#include "logging/goodput_history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.hpp"

namespace leda::logging {
namespace {

using Json = nlohmann::json;

constexpr int kVersion = 1;

// Steps (from, to] of a training, made by one attempt and not yet made again.
struct Stretch {
  std::size_t attempt = 0;
  std::int64_t from = 0;
  std::int64_t to = 0;
  double seconds = 0.0;
};

// Reads line after line; what a later line tells about earlier attempts is put right on the way.
class Reader {
 public:
  void add(const Json& line) {
    const std::string event = line.value("event", "");
    if (event == "start") return start(line);
    if (attempts_.empty() || line.value("attempt", 0) != attempts_.back().number) return;
    take_account(line);
    if (event == "begin_phase") begin_training(line.value("phase", ""), line.value("step", std::int64_t{0}));
    if (event == "step") reach(line.value("step", std::int64_t{0}));
    if (event == "checkpoint") checkpoint(line);
    if (event == "end") end(line);
  }

  std::vector<AttemptAccount> attempts() {
    for (AttemptAccount& attempt : attempts_) move_lost_time(attempt);
    if (!attempts_.empty() && !attempts_.back().has_ended) attempts_.back().at_risk_seconds = trained_ - saved_at_;
    return attempts_;
  }

 private:
  void start(const Json& line) {
    if (line.value("version", 0) > kVersion) {
      throw base::Error(base::ExitCode::data, {.what = "the run's ledger is of a later version than this program",
                                               .value = fmt::format("version {}", line.value("version", 0)),
                                               .why = "its account would be misread",
                                               .remedy = "use the program that wrote it, or a later one"});
    }
    AttemptAccount attempt;
    attempt.number = line.value("attempt", 0);
    attempt.num_ranks = line.value("ranks", 1);
    attempt.scheduler_job = line.value("batch_job", "");
    attempt.begin = line.value("begin", 0.0);
    account_for_gap(attempt, attempts_.empty() ? nullptr : &attempts_.back(), line);
    attempts_.push_back(attempt);
    training_.clear();
    trained_ = saved_at_ = 0.0;
    take_account(line);
  }

  // In the queue: since the job was submitted, or, of a job that was requeued, since its attempt before ended.
  static void account_for_gap(AttemptAccount& attempt, const AttemptAccount* before, const Json& line) {
    double waits_from = line.value("submitted", attempt.begin);
    if (before != nullptr && !attempt.scheduler_job.empty() && before->scheduler_job == attempt.scheduler_job) {
      waits_from = before->end;
    }
    const double free_from = before != nullptr ? before->end : waits_from;
    waits_from = std::clamp(waits_from, std::min(free_from, attempt.begin), attempt.begin);
    attempt.queue_seconds = attempt.begin - waits_from;
    attempt.away_seconds = std::max(0.0, waits_from - free_from);
  }

  void take_account(const Json& line) {
    AttemptAccount& attempt = attempts_.back();
    attempt.end = attempt.begin + line.value("elapsed", 0.0);
    const Json& seconds = line.contains("seconds") ? line.at("seconds") : Json::object();
    for (std::size_t i = 0; i < kNumActivities; ++i) {
      attempt.seconds[i] = seconds.value(std::string(kActivityNames[i]), 0.0);
    }
    trained_ = training_seconds(attempt.seconds);
  }

  void begin_training(const std::string& training, std::int64_t step) {
    attempts_.back().has_trained = true;
    std::vector<Stretch>& stretches = stretches_[training];
    for (Stretch& stretch : stretches) {
      const std::int64_t kept_to = std::clamp(step, stretch.from, stretch.to);
      const double lost =
          stretch.seconds * static_cast<double>(stretch.to - kept_to) / static_cast<double>(stretch.to - stretch.from);
      attempts_[stretch.attempt].lost_seconds += lost;
      stretch.seconds -= lost;
      stretch.to = kept_to;
    }
    std::erase_if(stretches, [](const Stretch& stretch) { return stretch.to == stretch.from; });
    training_ = training;
    step_ = step;
    step_trained_ = saved_at_ = trained_;
  }

  void reach(std::int64_t step) {
    if (step <= step_) return;
    stretches_[training_].push_back({attempts_.size() - 1, step_, step, trained_ - step_trained_});
    step_ = step;
    step_trained_ = trained_;
  }

  void checkpoint(const Json& line) {
    AttemptAccount& attempt = attempts_.back();
    ++attempt.num_checkpoints;
    attempt.pause_seconds += line.value("pause_seconds", 0.0);
    attempt.write_seconds += line.value("write_seconds", 0.0);
    saved_at_ = line.value("trained_seconds", trained_);
  }

  void end(const Json& line) {
    AttemptAccount& attempt = attempts_.back();
    attempt.has_ended = true;
    if (line.contains("exit_code")) attempt.exit_code = line.at("exit_code").get<int>();
  }

  // What was lost was step, wait for data and wait for ranks in the proportion of the attempt.
  static void move_lost_time(AttemptAccount& attempt) {
    const double trained = training_seconds(attempt.seconds);
    attempt.lost_seconds = std::clamp(attempt.lost_seconds, 0.0, trained);
    if (trained <= 0.0) return;
    const double kept = 1.0 - attempt.lost_seconds / trained;
    for (const Activity activity : {Activity::step, Activity::data_wait, Activity::exposed_communication}) {
      seconds_of(attempt.seconds, activity) *= kept;
    }
  }

  std::vector<AttemptAccount> attempts_;
  std::map<std::string, std::vector<Stretch>> stretches_;  // by training
  // Of the newest attempt.
  std::string training_;
  std::int64_t step_ = 0;
  double trained_ = 0.0;       // seconds of steps so far
  double step_trained_ = 0.0;  // the same, at step_
  double saved_at_ = 0.0;      // the same, at its newest complete checkpoint
};

struct Column {
  const char* title;
  std::function<double(const AttemptAccount&)> seconds;
};

std::vector<Column> columns() {
  const auto spent_in = [](Activity activity) {
    return [activity](const AttemptAccount& attempt) { return seconds_of(attempt.seconds, activity); };
  };
  return {{"allocated", &AttemptAccount::allocated_seconds},
          {"start-up", spent_in(Activity::start_up)},
          {"data wait", spent_in(Activity::data_wait)},
          {"step", spent_in(Activity::step)},
          {"exposed", spent_in(Activity::exposed_communication)},
          {"checkpoint", spent_in(Activity::checkpoint)},
          {"validation", spent_in(Activity::validation)},
          {"evaluation", spent_in(Activity::evaluation)},
          {"lost", [](const AttemptAccount& attempt) { return attempt.lost_seconds; }},
          {"other", spent_in(Activity::other)},
          {"queue", [](const AttemptAccount& attempt) { return attempt.queue_seconds; }},
          {"away", [](const AttemptAccount& attempt) { return attempt.away_seconds; }}};
}

std::string end_of(const AttemptAccount& attempt, bool is_newest) {
  if (attempt.exit_code) return fmt::format("code {}", *attempt.exit_code);
  if (attempt.has_ended) return "error";
  return is_newest ? "no end" : "killed";
}

double rank_seconds(const std::vector<AttemptAccount>& attempts,
                    const std::function<double(const AttemptAccount&)>& seconds) {
  double sum = 0.0;
  for (const AttemptAccount& attempt : attempts) sum += attempt.num_ranks * seconds(attempt);
  return sum;
}

}  // namespace

std::vector<AttemptAccount> read_ledger(const std::filesystem::path& path) {
  Reader reader;
  std::ifstream file(path);
  for (std::string text; std::getline(file, text);) {
    const Json line = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!line.is_object()) continue;
    try {
      reader.add(line);
    } catch (const Json::exception&) {  // a member of another type than the format's
    }
  }
  return reader.attempts();
}

std::int64_t num_failures(const std::vector<AttemptAccount>& attempts) {
  return std::count_if(attempts.begin(), attempts.end(), [](const AttemptAccount& attempt) {
    return attempt.has_trained && !attempt.exit_code.has_value();
  });
}

double goodput(const std::vector<AttemptAccount>& attempts) {
  const double allocated = rank_seconds(attempts, &AttemptAccount::allocated_seconds);
  const auto step = [](const AttemptAccount& attempt) { return seconds_of(attempt.seconds, Activity::step); };
  return allocated > 0.0 ? rank_seconds(attempts, step) / allocated : 0.0;
}

std::string goodput_table(const std::vector<AttemptAccount>& attempts) {
  const std::vector<Column> all = columns();
  std::string header = fmt::format("{:<12} {:>5}  {:<8}", "attempt", "ranks", "ended");
  std::string sums = fmt::format("{:<12} {:>5}  {:<8}", "rank-seconds", "", "");
  std::string shares = fmt::format("{:<12} {:>5}  {:<8}", "share", "", "");
  const double allocated = rank_seconds(attempts, &AttemptAccount::allocated_seconds);
  for (const Column& column : all) {
    const double sum = rank_seconds(attempts, column.seconds);
    header += fmt::format(" {:>11}", column.title);
    sums += fmt::format(" {:>11.1f}", sum);
    shares += fmt::format(" {:>9.1f} %", allocated > 0.0 ? 100.0 * sum / allocated : 0.0);
  }
  std::string table = header + "\n";
  for (const AttemptAccount& attempt : attempts) {
    table += fmt::format("{:<12} {:>5}  {:<8}", attempt.number, attempt.num_ranks,
                         end_of(attempt, &attempt == &attempts.back()));
    for (const Column& column : all) table += fmt::format(" {:>11.1f}", column.seconds(attempt));
    table += "\n";
  }
  table += sums + "\n" + shares + "\n";
  table += fmt::format("goodput: {:.1f} % of {:.1f} allocated rank-seconds went into steps that were kept\n",
                       100.0 * goodput(attempts), allocated);
  if (!attempts.empty() && !attempts.back().has_ended) {
    table += fmt::format("attempt {} runs, or was killed: {:.1f} s of its steps are in no checkpoint yet\n",
                         attempts.back().number, attempts.back().at_risk_seconds);
  }
  return table;
}

}  // namespace leda::logging
