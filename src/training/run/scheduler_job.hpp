// What the batch system tells a job about itself, by environment variables. Plain values.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace leda::training {

// Times are Unix seconds.
struct SchedulerJob {
  std::string id;                   // SLURM_JOB_ID; empty = no batch system
  std::optional<double> start;      // SLURM_JOB_START_TIME: the nodes are this job's since then
  std::optional<double> end;        // SLURM_JOB_END_TIME: they are taken away then
  std::optional<double> submitted;  // LEDA_JOB_SUBMIT_TIME, by slurm/job.bash: Slurm has no variable for it
};

// `variable` returns the value of an environment variable, null where it is not set: std::getenv. What is no number is
// as good as not set.
SchedulerJob read_scheduler_job(const std::function<const char*(const char*)>& variable);

}  // namespace leda::training
