#include "logging/trace.hpp"

#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/clock.hpp"

namespace leda::logging {
namespace {

// An array that is closed after every write: what a killed run leaves can be read, too.
constexpr std::string_view kArrayStart = "[\n";
constexpr std::string_view kArrayEnd = "\n]\n";
constexpr std::size_t kPendingBytes = std::size_t{64} << 10;

std::string metadata(std::string_view kind, int rank, const nlohmann::json& values) {
  return nlohmann::json{{"name", kind}, {"ph", "M"}, {"pid", rank}, {"tid", 0}, {"args", values}}.dump();
}

// The trace's own names only, which need no escapes.
std::string as_json(const Trace::Details& details) {
  std::string text;
  for (const auto& [name, value] : details) {
    text += fmt::format("{}\"{}\":{}", text.empty() ? "" : ",", name, value);
  }
  return "{" + text + "}";
}

}  // namespace

Trace::Trace(const std::filesystem::path& path, int rank, const std::string& where, const TraceClock& clock,
             Console& console)
    : console_(&console), rank_(rank), clock_(clock) {
  try {
    std::filesystem::create_directories(path.parent_path());
    std::filesystem::remove(path);
    file_.emplace(path, AppendFile::Opening::new_only);
    file_->append(std::string(kArrayStart) + std::string(kArrayEnd));
    is_on_ = true;
  } catch (const std::exception& failure) {
    file_.reset();
    console.error_on_rank(fmt::format("no trace is written: {}", failure.what()));
    return;
  }
  add_event(metadata("process_name", rank, {{"name", fmt::format("rank {} ({})", rank, where)}}));
  add_event(metadata("process_sort_index", rank, {{"sort_index", rank}}));
  add_event(metadata("clock", rank,
                     {{"offset_to_rank_0_seconds", clock.offset_seconds},
                      {"uncertainty_seconds", clock.uncertainty_seconds},
                      {"origin_unix_seconds", clock.origin_unix_seconds}}));
  flush();
}

Trace::~Trace() { flush(); }

std::string Trace::times(double begin, double end) const {
  const double shift = clock_.offset_seconds - clock_.origin_seconds;
  return fmt::format("\"ts\":{:.3f},\"dur\":{:.3f}", (begin + shift) * 1e6, (end - begin) * 1e6);
}

void Trace::add_span(std::string_view name, double begin, double end, const Details& details) {
  if (!is_on()) return;
  add_event(fmt::format(R"({{"name":"{}","ph":"X","pid":{},"tid":0,{},"args":{}}})", name, rank_, times(begin, end),
                        as_json(details)));
}

void Trace::add_bucket(double begin, double end, const Details& details) {
  if (!is_on()) return;
  const double shift = clock_.offset_seconds - clock_.origin_seconds;
  std::int64_t id = 0;
  {
    const std::scoped_lock lock(mutex_);
    id = num_buckets_++;
  }
  const std::string common =
      fmt::format(R"("name":"bucket","cat":"bucket","id":"{}.{}","pid":{},"tid":0)", rank_, id, rank_);
  add_event(fmt::format(R"({{{},"ph":"b","ts":{:.3f},"args":{}}})", common, (begin + shift) * 1e6, as_json(details)));
  add_event(fmt::format(R"({{{},"ph":"e","ts":{:.3f}}})", common, (end + shift) * 1e6));
}

void Trace::add_event(std::string event) {
  const std::scoped_lock lock(mutex_);
  if (has_events_) pending_ += ",\n";
  has_events_ = true;
  pending_ += event;
  if (pending_.size() >= kPendingBytes) write_pending();
}

void Trace::flush() {
  const std::scoped_lock lock(mutex_);
  write_pending();
}

void Trace::write_pending() {
  if (!file_ || pending_.empty()) return;
  try {
    file_->cut(file_->size() - static_cast<std::int64_t>(kArrayEnd.size()));
    file_->append(pending_ + std::string(kArrayEnd));
  } catch (const std::exception& failure) {
    is_on_ = false;
    file_.reset();
    console_->error_on_rank(fmt::format("the trace ends here: {}", failure.what()));
  }
  pending_.clear();
}

double Trace::seconds_blocked() const {
  const std::scoped_lock lock(mutex_);
  return seconds_blocked_;
}

void Trace::add_seconds_blocked(double seconds) {
  const std::scoped_lock lock(mutex_);
  seconds_blocked_ += seconds;
}

Span::Span(Trace* trace, std::string_view name, std::int64_t step, Kind kind)
    : trace_(trace), name_(name), step_(step), kind_(kind) {
  if (trace_ != nullptr && !trace_->is_on() && kind == Kind::work) trace_ = nullptr;
  if (trace_ != nullptr) begin_ = base::steady_seconds();
}

Span::~Span() {
  if (trace_ == nullptr) return;
  const double end = base::steady_seconds();
  if (kind_ == Kind::exposed_wait) trace_->add_seconds_blocked(end - begin_);
  Trace::Details details;
  if (step_ != kNoStep) details.emplace_back("step", step_);
  trace_->add_span(name_, begin_, end, details);
}

}  // namespace leda::logging
