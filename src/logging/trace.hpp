// Where one rank's time goes, as a Chrome trace (docs/formats/trace.md): spans on the thread that trains, and buckets
// on their way beside them. Times are put on rank 0's clock, so that the files of all ranks fit together.
//
// Lives in the job for one training; everything that writes into it is handed a pointer, and a null pointer is a trace
// that is off. Any thread. A file that cannot be written is one warning, never the end of a training.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "logging/append_file.hpp"
#include "logging/console.hpp"

namespace leda::logging {

// Rank 0's clock, as this rank sees it: rank 0 reads steady_seconds() + offset_seconds, give or take the uncertainty.
struct TraceClock {
  double offset_seconds = 0.0;
  double uncertainty_seconds = 0.0;
  double origin_seconds = 0.0;       // time 0 of the trace, on rank 0's steady clock
  double origin_unix_seconds = 0.0;  // the same moment, on rank 0's calendar
};

class Trace {
 public:
  // Whole numbers that a span carries beside its name: step, bucket, bytes.
  using Details = std::vector<std::pair<std::string_view, std::int64_t>>;

  // Writes nothing, but adds up seconds_blocked().
  Trace() = default;
  // A new file; one that is there is written over. `where` names host and process in the metadata.
  Trace(const std::filesystem::path& path, int rank, const std::string& where, const TraceClock& clock,
        Console& console);
  ~Trace();
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;

  bool is_on() const { return is_on_; }

  // Times are steady_seconds() of this rank. Spans of one thread must nest.
  void add_span(std::string_view name, double begin, double end, const Details& details);
  // A collective under way from `begin` to `end`; several may be at once.
  void add_bucket(double begin, double end, const Details& details);
  // Writes what has been kept in memory.
  void flush();

  // Time this rank has spent in spans of kind `exposed_wait`, whether the trace is on or off.
  double seconds_blocked() const;
  void add_seconds_blocked(double seconds);

 private:
  void add_event(std::string event);
  void write_pending();
  std::string times(double begin, double end) const;

  mutable std::mutex mutex_;
  std::optional<AppendFile> file_;
  std::atomic<bool> is_on_ = false;
  Console* console_ = nullptr;
  int rank_ = 0;
  TraceClock clock_;
  std::string pending_;
  bool has_events_ = false;
  std::int64_t num_buckets_ = 0;
  double seconds_blocked_ = 0.0;
};

// A span from here to the end of the scope.
class Span {
 public:
  enum class Kind { work, exposed_wait };

  static constexpr std::int64_t kNoStep = -1;

  // `name` must outlive the span.
  Span(Trace* trace, std::string_view name, std::int64_t step, Kind kind = Kind::work);
  ~Span();
  Span(const Span&) = delete;
  Span& operator=(const Span&) = delete;

 private:
  Trace* trace_;
  std::string_view name_;
  std::int64_t step_;
  Kind kind_;
  double begin_ = 0.0;
};

}  // namespace leda::logging
