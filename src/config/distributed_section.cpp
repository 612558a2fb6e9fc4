#include "config/job_sections.hpp"

namespace leda::config {

void bind_distributed(OptionTable& table, training::JobOptions& job) {
  table.section("distributed", "gradients, watch over ranks");
  table.add("distributed.bucket_bytes", "gradients that travel together", &job.distributed.bucket_bytes,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("distributed.first_bucket_bytes", "the same, of the first to leave", &job.distributed.first_bucket_bytes,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("distributed.wire_type", "gradients travel as they are (full) or rounded (bfloat16)",
            &job.distributed.gradient_compression);
  table.add("distributed.overlap", "buckets leave during backward; false = after it, to measure what that gains",
            &job.distributed.overlap, {.may_change_on_resume = true});
  table.add(
      "distributed.non_finite_check",
      "before_sum (names the rank at once), on_device (no wait; named at the next logging step), auto = before_sum "
      "in host memory",
      &job.distributed.non_finite_check, {.may_change_on_resume = true});
  table.add("distributed.reproducible",
            "the same bits on any number of ranks: each sample by itself, summed in a fixed tree",
            &job.distributed.reproducible);
  table.add("distributed.init_timeout_seconds", "time for several ranks' GPUs to connect",
            &job.devices.init_timeout_seconds, {.range = at_least(1), .may_change_on_resume = true});
  table.add("distributed.threads_per_rank", "0 = cores / ranks on this host", &job.threads_per_rank,
            {.range = at_least(0), .may_change_on_resume = true});
  table.add("distributed.timeout_seconds",
            "end the job with code 13, naming who is waited for, when a rank neither takes part in a collective nor "
            "notes progress (a step, a slice, a checkpoint) for so long",
            &job.watch.timeout_seconds, {.range = at_least(1), .may_change_on_resume = true});
  table.add("distributed.check_collectives",
            "compare what all ranks call before every collective, and name those that differ; slow, to find mistakes",
            &job.watch.check_collectives, {.may_change_on_resume = true});
}

}  // namespace leda::config
