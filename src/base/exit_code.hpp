// How a job ended, as the exit code of every program. The table with what mpirun and srun make of each code is
// docs/exit_codes.md; a test holds the two together.
#pragma once

namespace leda::base {

enum class ExitCode : int {
  finished = 0,
  options = 10,               // unknown option, value out of range, options that contradict each other
  data = 11,                  // missing, damaged or unsuitable input
  storage = 12,               // a file could not be written: disk full, no permission, folder in use
  communication = 13,         // MPI or NCCL failed, ranks disagree
  non_finite = 14,            // training diverged or a network died
  internal = 15,              // a mistake of ours
  saved_run_again = 85,       // stopped by USR1, USR2 or the time limit with a complete checkpoint
  saved_do_not_restart = 86,  // stopped by INT or TERM with a complete checkpoint
};

}  // namespace leda::base
