#include "base/stop_signal.hpp"

#include <csignal>
#include <initializer_list>

namespace leda::base {
namespace {

// The one piece of global state a signal handler cannot do without.
volatile std::sig_atomic_t run_again_seen = 0;
volatile std::sig_atomic_t do_not_restart_seen = 0;

extern "C" void leda_note_signal(int signal_number) {
  if (signal_number == SIGUSR1 || signal_number == SIGUSR2) {
    run_again_seen = 1;
  } else {
    do_not_restart_seen = 1;
  }
}

}  // namespace

void install_stop_handlers() {
  struct sigaction action {};
  action.sa_handler = leda_note_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  for (const int number : {SIGUSR1, SIGUSR2, SIGINT, SIGTERM}) sigaction(number, &action, nullptr);
}

StopRequest requested_stop() {
  if (do_not_restart_seen != 0) return StopRequest::do_not_restart;
  return run_again_seen != 0 ? StopRequest::run_again : StopRequest::none;
}

}  // namespace leda::base
