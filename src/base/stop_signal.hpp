// The signals that ask a run to save and leave. The handler sets a flag and nothing else; the training loop reads it
// between steps and agrees on it over all ranks.
#pragma once

namespace leda::base {

enum class StopRequest : int {
  none = 0,
  run_again = 1,       // USR1, USR2: the cluster wants the node back
  do_not_restart = 2,  // INT, TERM: a person ended the run
};

// Installs the handlers of USR1, USR2, INT and TERM for the rest of the process. Called before any thread is started.
// Where whoever started the program had them blocked (env --block-signal), they are delivered now, none lost.
void install_stop_handlers();
// The strongest request received so far (do_not_restart outranks run_again).
StopRequest requested_stop();
// More than one of these signals has come, whichever: the checkpoint goes without what it can go without.
bool is_stop_urgent();

}  // namespace leda::base
