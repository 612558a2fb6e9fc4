// The signals that ask a run to save and leave. The handler sets a flag and nothing else; the training loop reads it
// between steps and agrees on it over all ranks.
#pragma once

namespace leda::base {

enum class StopRequest : int {
  none = 0,
  run_again = 1,       // USR1, USR2: the cluster wants the node back
  do_not_restart = 2,  // INT, TERM: a person ended the run
};

// Installs the handlers of USR1, USR2, INT and TERM for the rest of the process.
void install_stop_handlers();
// The strongest request received so far (do_not_restart outranks run_again).
StopRequest requested_stop();

}  // namespace leda::base
