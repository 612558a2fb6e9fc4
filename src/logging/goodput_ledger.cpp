#include "logging/goodput_ledger.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <utility>

#include "logging/json_lines_file.hpp"

namespace leda::logging {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Since when time counts as this attempt's. In an allocation that an attempt before used already, since that one ended.
double begin_of(const AttemptFacts& facts, const std::vector<AttemptAccount>& history) {
  if (!facts.allocated || *facts.allocated > facts.process_start) return facts.process_start;
  const double before = history.empty() ? *facts.allocated : history.back().end;
  return std::clamp(before, *facts.allocated, facts.process_start);
}

}  // namespace

GoodputLedger::GoodputLedger(const std::filesystem::path& path, const AttemptFacts& facts, Console& console)
    : is_on_(true), console_(&console) {
  try {
    history_ = read_ledger(path);
    file_.emplace(open_json_lines(path));
  } catch (const std::exception& failure) {
    console.warning(fmt::format("the run goes on without a ledger of its time: {}", failure.what()));
    has_warned_ = true;
  }
  attempt_ = history_.empty() ? 1 : history_.back().number + 1;
  const double begin = begin_of(facts, history_);
  elapsed_at_construction_ = std::max(0.0, base::unix_seconds() - begin);
  OrderedJson start{{"format", "leda-ledger"},  {"version", 1},       {"begin", begin},
                    {"ranks", facts.num_ranks}, {"host", facts.host}, {"batch_job", facts.scheduler_job}};
  if (facts.submitted) start["submitted"] = *facts.submitted;
  write("start", start.dump(-1, ' ', false, OrderedJson::error_handler_t::replace));
}

GoodputLedger::~GoodputLedger() {
  if (is_on_ && !is_finished_) write("end", "{}");
}

double GoodputLedger::elapsed_seconds() const { return elapsed_at_construction_ + stopwatch_.seconds(); }

Activity GoodputLedger::enter(Activity activity) {
  if (!is_on_) return activity;
  close_activity();
  return std::exchange(activity_, activity);
}

void GoodputLedger::close_activity() {
  const double now = elapsed_seconds();
  seconds_of(seconds_, activity_) += now - activity_begin_;
  activity_begin_ = now;
}

void GoodputLedger::split_step(double data_wait_seconds, double exposed_communication_seconds) {
  if (!is_on_) return;
  seconds_of(seconds_, Activity::step) -= data_wait_seconds + exposed_communication_seconds;
  seconds_of(seconds_, Activity::data_wait) += data_wait_seconds;
  seconds_of(seconds_, Activity::exposed_communication) += exposed_communication_seconds;
}

void GoodputLedger::begin_training(const std::string& training, std::int64_t step) {
  training_ = training;
  step_ = step;
  if (is_on_) write("begin_phase", "{}");
}

void GoodputLedger::note_step(std::int64_t step) {
  step_ = step;
  if (is_on_) write("step", "{}");
}

void GoodputLedger::note_snapshot(std::int64_t step) {
  if (!is_on_) return;
  note_step(step);
  snapshot_trained_ = training_seconds(seconds_);
}

void GoodputLedger::note_checkpoint(std::int64_t step, double pause_seconds, double write_seconds) {
  if (!is_on_) return;
  write("checkpoint", OrderedJson{{"saved_step", step},
                                  {"trained_seconds", snapshot_trained_},
                                  {"pause_seconds", pause_seconds},
                                  {"write_seconds", write_seconds}}
                          .dump());
}

void GoodputLedger::note_heartbeat(double every_num_seconds) {
  if (is_on_ && elapsed_seconds() - last_line_ >= every_num_seconds) write("alive", "{}");
}

void GoodputLedger::finish(int exit_code) {
  if (!is_on_ || std::exchange(is_finished_, true)) return;
  write("end", OrderedJson{{"exit_code", exit_code}}.dump());
}

void GoodputLedger::write(const char* event, const std::string& fields) {
  close_activity();
  last_line_ = activity_begin_;
  OrderedJson line{{"event", event}, {"time", base::unix_seconds()}, {"attempt", attempt_}};
  if (!training_.empty()) line.update({{"phase", training_}, {"step", step_}});
  line.update(OrderedJson::parse(fields));
  line["elapsed"] = activity_begin_;
  for (std::size_t i = 0; i < kNumActivities; ++i) line["seconds"][std::string(kActivityNames[i])] = seconds_[i];
  append(line.dump() + "\n");
}

void GoodputLedger::append(const std::string& line) {
  if (!file_) return;
  try {
    file_->append(line);
  } catch (const std::exception& failure) {
    if (!std::exchange(has_warned_, true)) {
      console_->warning(fmt::format("the ledger of the run's time has gaps: {}", failure.what()));
    }
  }
}

}  // namespace leda::logging
