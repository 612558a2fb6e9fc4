#include "distributed/core/collective_journal.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/clock.hpp"

namespace leda::distributed {

std::string CollectiveCall::text() const {
  std::string call(operation);
  if (!type.empty()) call += fmt::format(" of {} {}", count, type);
  if (!label.empty()) call += fmt::format(" ({})", label);
  return call;
}

CollectiveJournal::CollectiveJournal(std::size_t capacity) : ring_(std::max<std::size_t>(capacity, 1)) {}

// Assigns into the ring's own strings, whose memory is reused.
void CollectiveJournal::add(EventState state, std::int64_t sequence, std::string_view text) {
  const std::int64_t number = num_events_.load(std::memory_order_relaxed);
  JournalEvent& event = ring_[static_cast<std::size_t>(number) % ring_.size()];
  event.unix_seconds = base::unix_seconds();
  event.state = state;
  event.sequence = sequence;
  event.text = text;
  num_events_.store(number + 1, std::memory_order_relaxed);
}

void CollectiveJournal::note(std::string_view text) {
  const std::scoped_lock lock(mutex_);
  last_note_ = text;
  add(EventState::note, 0, text);
}

std::int64_t CollectiveJournal::begin(const CollectiveCall& call) {
  const std::string text = call.text();
  const std::scoped_lock lock(mutex_);
  add(EventState::begun, ++num_begun_, text);
  return num_begun_;
}

void CollectiveJournal::finish(std::int64_t sequence) {
  const std::scoped_lock lock(mutex_);
  const JournalEvent* begun = find_begun(sequence);
  add(EventState::finished, sequence, begun == nullptr ? std::string() : std::string(begun->text));
  num_finished_.fetch_add(1, std::memory_order_relaxed);
}

const JournalEvent* CollectiveJournal::find_begun(std::int64_t sequence) const {
  const std::int64_t end = num_events_.load(std::memory_order_relaxed);
  const std::int64_t first = std::max<std::int64_t>(0, end - static_cast<std::int64_t>(ring_.size()));
  for (std::int64_t i = end - 1; i >= first; --i) {
    const JournalEvent& event = ring_[static_cast<std::size_t>(i) % ring_.size()];
    if (event.state == EventState::begun && event.sequence == sequence) return &event;
  }
  return nullptr;
}

std::optional<double> CollectiveJournal::blocked_processor_seconds() const {
  const std::scoped_lock lock(mutex_);
  return blocked_thread_ ? blocked_thread_->seconds() : std::nullopt;
}

JournalSnapshot CollectiveJournal::snapshot() const {
  const std::scoped_lock lock(mutex_);
  JournalSnapshot snapshot;
  const std::int64_t end = num_events_.load(std::memory_order_relaxed);
  const std::int64_t first = std::max<std::int64_t>(0, end - static_cast<std::int64_t>(ring_.size()));
  for (std::int64_t i = first; i < end; ++i) {
    snapshot.events.push_back(ring_[static_cast<std::size_t>(i) % ring_.size()]);
  }
  snapshot.num_begun = num_begun_;
  snapshot.last_note = last_note_;
  if (waits_in_ != 0) {
    const JournalEvent* begun = find_begun(waits_in_);
    snapshot.waits_in = begun != nullptr ? *begun : JournalEvent{0.0, EventState::begun, waits_in_, "a collective"};
  }
  return snapshot;
}

CollectiveJournal::Blocked::Blocked(CollectiveJournal& journal, std::int64_t sequence) : journal_(journal) {
  const std::scoped_lock lock(journal_.mutex_);
  journal_.waits_in_ = sequence;
  journal_.blocked_thread_ = ThreadClock::of_this_thread();
}

CollectiveJournal::Blocked::~Blocked() {
  const std::scoped_lock lock(journal_.mutex_);
  journal_.waits_in_ = 0;
  journal_.blocked_thread_.reset();
}

}  // namespace leda::distributed
