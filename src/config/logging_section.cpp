#include "config/job_sections.hpp"

namespace leda::config {

void bind_logging(OptionTable& table, training::JobOptions& job) {
  table.section("logging", "log, TensorBoard, traces");
  table.add("logging.every_num_steps", "cadence of logged figures", &job.logging.every_num_steps,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("logging.progress_seconds", "time between progress lines where no terminal is",
            &job.logging.progress_seconds, {.range = at_least(0), .may_change_on_resume = true});
  table.add("logging.tensorboard", "write TensorBoard files beside log.jsonl", &job.logging.tensorboard,
            {.may_change_on_resume = true});
  table.add("logging.trace", "write a Chrome trace of every rank (docs/formats/trace.md)", &job.logging.trace,
            {.may_change_on_resume = true});
}

}  // namespace leda::config
