#include "config/job_sections.hpp"

namespace leda::config {

void bind_run(OptionTable& table, training::JobOptions& job) {
  table.section("run", "stages, folder, seed, time");
  table.add("run.stages",
            "what to do, in this order: pretrain, baseline (stage 2 without LEDA), denoise (with), evaluate",
            &job.run.stages, {.may_change_on_resume = true});
  table.add("run.folder", "where the run lives; a new run after it becomes FOLDER-2, FOLDER-3, ...", &job.run.folder,
            {.may_change_on_resume = true});
  table.add("run.seed", "of first weights, data order and augmentation", &job.run.seed);
  table.add("run.num_denoiser_seeds", "train stage 2 this often, with run.seed, run.seed + 1, ...",
            &job.run.num_denoiser_seeds, {.range = at_least(1), .may_change_on_resume = true});
  table.add("run.device", "auto (a GPU if there is one), cpu, cuda", &job.run.device, {.may_change_on_resume = true});
  table.add("run.max_seconds", "save and leave with code 85 within this time; 0 = no limit", &job.run.max_seconds,
            {.range = at_least(0), .may_change_on_resume = true});
  table.add("run.margin_seconds",
            "time kept free before the end of a Slurm job (SLURM_JOB_END_TIME), beside what the last checkpoint takes",
            &job.run.margin_seconds, {.range = at_least(0), .may_change_on_resume = true});
}

}  // namespace leda::config
