#include "base/stop_signal.hpp"

#include <atomic>
#include <csignal>
#include <initializer_list>

namespace leda::base {
namespace {

// The one piece of global state a signal handler cannot do without. Threads may run handlers at the same time.
std::atomic<int> num_run_again{0};
std::atomic<int> num_do_not_restart{0};
static_assert(std::atomic<int>::is_always_lock_free, "a handler may not wait for a lock");

extern "C" void leda_note_signal(int signal_number) {
  if (signal_number == SIGUSR1 || signal_number == SIGUSR2) {
    ++num_run_again;
  } else {
    ++num_do_not_restart;
  }
}

}  // namespace

void install_stop_handlers() {
  struct sigaction action {};
  action.sa_handler = leda_note_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigset_t handled;
  sigemptyset(&handled);
  for (const int number : {SIGUSR1, SIGUSR2, SIGINT, SIGTERM}) {
    sigaction(number, &action, nullptr);
    sigaddset(&handled, number);
  }
  pthread_sigmask(SIG_UNBLOCK, &handled, nullptr);
}

StopRequest requested_stop() {
  if (num_do_not_restart > 0) return StopRequest::do_not_restart;
  return num_run_again > 0 ? StopRequest::run_again : StopRequest::none;
}

bool is_stop_urgent() { return num_run_again + num_do_not_restart > 1; }

}  // namespace leda::base
