#include "distributed/core/bounded_call.hpp"

#include <chrono>
#include <cstdlib>
#include <future>
#include <thread>
#include <utility>

namespace leda::distributed {

bool completes_within(double seconds, std::function<void()> call) {
  std::packaged_task<void()> task(std::move(call));
  std::future<void> result = task.get_future();
  std::thread(std::move(task)).detach();
  if (result.wait_for(std::chrono::duration<double>(seconds)) != std::future_status::ready) return false;
  result.get();
  return true;
}

void exit_after(double seconds, int exit_code) {
  std::thread([seconds, exit_code] {
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    std::_Exit(exit_code);
  }).detach();
}

}  // namespace leda::distributed
