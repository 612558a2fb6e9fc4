// What a rank did last: its collectives, each begun and finished, and what it noted between them ("step 41"). Written
// by the threads that work (through WatchedCommunicator), read by the Watchdog's thread; every call is thread-safe and
// costs well under a microsecond beside the text it stores. Lives as long as whoever writes or reads it.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/core/thread_clock.hpp"

namespace leda::distributed {

// A collective as a rank called it. Two ranks that meet in one agree in every field.
struct CollectiveCall {
  std::string_view operation;  // "all_reduce"
  std::string_view type;       // of the elements
  std::int64_t count = 0;      // elements of this rank's tensor
  std::string_view label;      // "bucket 3, step 41", or empty

  std::string text() const;
};

enum class EventState { note, begun, finished };

struct JournalEvent {
  double unix_seconds = 0.0;
  EventState state = EventState::note;
  std::int64_t sequence = 0;  // of a collective, counted from 1 on this rank
  std::string text;           // the call, or the note
};

struct JournalSnapshot {
  std::vector<JournalEvent> events;      // oldest first
  std::int64_t num_begun = 0;            // collectives so far
  std::optional<JournalEvent> waits_in;  // the collective that the host is blocked in
  std::string last_note;
};

class CollectiveJournal {
 public:
  // Keeps the newest `capacity` events.
  explicit CollectiveJournal(std::size_t capacity = 2000);

  void note(std::string_view text);
  // Returns the collective's number.
  std::int64_t begin(const CollectiveCall& call);
  void finish(std::int64_t sequence);

  // The host, by way of the thread that makes it, is blocked in this collective from construction to destruction. One
  // at a time.
  class Blocked {
   public:
    Blocked(CollectiveJournal& journal, std::int64_t sequence);
    ~Blocked();
    Blocked(const Blocked&) = delete;
    Blocked& operator=(const Blocked&) = delete;

   private:
    CollectiveJournal& journal_;
  };

  // Grow with every event, and with every finished collective.
  std::int64_t num_events() const { return num_events_.load(std::memory_order_relaxed); }
  std::int64_t num_finished() const { return num_finished_.load(std::memory_order_relaxed); }
  // Processor time that the blocked thread has taken in its life; nothing where none is blocked, or it is not known.
  std::optional<double> blocked_processor_seconds() const;
  JournalSnapshot snapshot() const;

 private:
  void add(EventState state, std::int64_t sequence, std::string_view text);
  const JournalEvent* find_begun(std::int64_t sequence) const;

  mutable std::mutex mutex_;
  std::vector<JournalEvent> ring_;
  std::int64_t num_begun_ = 0;
  std::int64_t waits_in_ = 0;  // 0 = not blocked
  std::optional<ThreadClock> blocked_thread_;
  std::string last_note_;
  std::atomic<std::int64_t> num_events_{0};
  std::atomic<std::int64_t> num_finished_{0};
};

}  // namespace leda::distributed
