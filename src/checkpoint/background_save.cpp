#include "checkpoint/background_save.hpp"

#include <fmt/format.h>

#include <chrono>
#include <utility>

namespace leda::checkpoint {

BackgroundSave::BackgroundSave(SaveJob job, const CheckpointContent& content, logging::Console& console)
    : job_(std::move(job)) {
  if (!job_.has_work()) {
    std::promise<SaveCost> nothing;
    nothing.set_value({.step = job_.request.step});
    result_ = nothing.get_future();
    return;
  }
  result_ = std::async(std::launch::async, [this, &content, &console] {
    try {
      return run_save(job_, content, progress_, console);
    } catch (...) {
      has_failed_ = true;
      throw;
    }
  });
}

BackgroundSave::~BackgroundSave() {
  if (result_.valid()) result_.wait();
}

bool BackgroundSave::is_done() const {
  return !result_.valid() || result_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

void BackgroundSave::wait(const std::function<void(std::string)>& note, const std::function<bool()>& is_urgent) {
  if (is_done()) return;
  if (is_urgent && is_urgent()) skip_verification();
  note(fmt::format("checkpoint of step {}: waits for its writer", job_.request.step));
  std::uint64_t seen = progress_.num_pieces;
  while (result_.wait_for(std::chrono::milliseconds(250)) != std::future_status::ready) {
    if (is_urgent && is_urgent()) skip_verification();
    const std::uint64_t now = progress_.num_pieces;
    if (std::exchange(seen, now) == now) continue;
    note(
        fmt::format("checkpoint of step {}: waits for its writer, {} pieces of a MiB at most", job_.request.step, now));
  }
}

}  // namespace leda::checkpoint
