#include "config/job_sections.hpp"

namespace leda::config {

void bind_checkpoint(OptionTable& table, training::JobOptions& job) {
  table.section("checkpoint", "when saved, what is kept");
  table.add("checkpoint.interval",
            "steps (every checkpoint.every_num_steps), auto (from what a save costs and how often the run failed)",
            &job.checkpoint_schedule.interval, {.may_change_on_resume = true});
  table.add("checkpoint.every_num_steps", "cadence of checkpoints", &job.checkpoint_schedule.every_num_steps,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("checkpoint.keep_last", "newest checkpoints kept, beside the best", &job.checkpoint.keep_last,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("checkpoint.keep_every_num_steps", "checkpoints of multiples of this step are kept for ever; 0 = none",
            &job.checkpoint.keep_every_num_steps, {.range = at_least(0), .may_change_on_resume = true});
  table.add("checkpoint.max_file_bytes",
            "archives above this are split over files, between tensors, and the files dealt out over ranks",
            &job.checkpoint.max_file_bytes, {.range = at_least(1), .may_change_on_resume = true});
}

}  // namespace leda::config
