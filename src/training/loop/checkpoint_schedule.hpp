// After which steps a training saves: every checkpoint.every_num_steps, or, with checkpoint.interval = auto, as often
// as the measured cost of its saves and the failures of the run so far make best. All ranks decide alike: rank 0's
// figures count. Saving changes no result, so neither does the schedule. Lives in the loop; one thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/save_job.hpp"
#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"
#include "logging/goodput_ledger.hpp"
#include "training/loop/checkpoint_interval.hpp"
#include "training/options/job_options.hpp"

namespace leda::training {

class CheckpointSchedule {
 public:
  // Until a save has been measured, and none was in the attempts before (`ledger`, may be null), it is due at every
  // logging step.
  CheckpointSchedule(std::string title, const LoopOptions& options, const logging::GoodputLedger* ledger);

  // Training begins after this step, or has just been saved there.
  void note_saved(std::int64_t step) { saved_step_ = step; }
  bool is_due(std::int64_t step) const;
  // One step, `beside_writer`: while a checkpoint was being written.
  void note_step(double seconds, bool beside_writer);
  // At logging steps. `costs`: of the newest saves. Collective where the interval is chosen here.
  void choose(const std::vector<checkpoint::SaveCost>& costs, distributed::Communicator& communicator,
              logging::Console& console);

 private:
  struct StepTimes {
    std::int64_t num = 0;
    double seconds = 0.0;
    double mean() const { return num > 0 ? seconds / static_cast<double>(num) : 0.0; }
  };

  bool has_figures(const std::vector<checkpoint::SaveCost>& costs) const;
  SaveFigures figures(const std::vector<checkpoint::SaveCost>& costs) const;
  std::int64_t best_num_steps(const std::vector<checkpoint::SaveCost>& costs) const;
  void announce(const std::vector<checkpoint::SaveCost>& costs, logging::Console& console);

  std::string title_;
  bool is_automatic_;
  std::int64_t num_steps_;  // between two saves
  const logging::GoodputLedger* ledger_;
  std::int64_t saved_step_ = 0;
  std::int64_t announced_num_steps_ = 0;
  bool has_begun_ = false;  // the first step warms up, and is no measure
  StepTimes quiet_;
  StepTimes beside_writer_;
  std::int64_t num_writes_ = 0;  // that steps were made beside
  bool was_beside_writer_ = false;
};

}  // namespace leda::training
