// A whole job: the trainings that run.stages names, one after the other, each resumed from its own checkpoints, then
// the evaluation. A run folder holds
//   options.cfg  lock.json  finished.json (last)
//   pretrain/  without_leda/  with_leda/ (with_leda_seed_2/ ...): checkpoints/ log.jsonl tensorboard/ *.safetensors
//   events/rank_N.json (what a rank did last, where the job stood still)
//   evaluation/: evaluation.{txt,json,csv} comparison.png
#pragma once

#include "base/exit_code.hpp"
#include "distributed/core/communicator.hpp"
#include "distributed/watch/hang_detector.hpp"
#include "logging/console.hpp"
#include "training/options/job_options.hpp"
#include "training/run/run_options_file.hpp"

namespace leda::training {

struct JobActions {
  bool new_run = false;  // a new folder even where a run to go on with exists
  bool dry_run = false;  // check everything, train nothing
};

// `values`: the options as they are kept with the run and compared when it is resumed. Collective. finished, or
// saved_run_again / saved_do_not_restart after an agreed stop; everything else is thrown.
base::ExitCode run_job(const JobOptions& options, const OptionValues& values, const JobActions& actions,
                       distributed::Communicator& communicator, distributed::HangDetector& hang_detector,
                       logging::Console& console);

// Prints the newest run's table, or how far it is. Collective.
base::ExitCode report_job(const JobOptions& options, distributed::Communicator& communicator,
                          logging::Console& console);

}  // namespace leda::training
