#include "config/job_sections.hpp"

namespace leda::config {

void bind_training(OptionTable& table, training::JobOptions& job) {
  table.section("training", "batches, rates, precision");
  table.add("training.global_batch", "images per step over all ranks", &job.training.global_batch,
            {.range = at_least(1)});
  table.add("training.max_micro_batch", "images per rank and backward; a larger share is accumulated; 0 = all at once",
            &job.training.max_micro_batch, {.range = at_least(0)});
  table.add("training.learning_rate_scaling", "none, or linear: rates are multiplied by the global batch",
            &job.training.learning_rate_scaling);
  table.add("training.num_warm_up_steps", "steps of linear warm-up", &job.training.num_warm_up_steps,
            {.range = at_least(0)});
  table.add("training.final_learning_rate_fraction", "end of the cosine, as a share of the rate; 1 = constant",
            &job.training.final_learning_rate_fraction, {.range = between(0, 1)});
  table.add("training.max_gradient_norm", "clip the gradient's norm over all ranks to this; 0 = off",
            &job.training.max_gradient_norm, {.range = at_least(0)});
  table.add("training.validate_every_num_steps", "cadence of validation", &job.training.validate_every_num_steps,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("training.precision", "float32 or float64", &job.training.precision);
  table.add("training.on_non_finite",
            "of a gradient with a NaN or infinity: stop, skip (the update, with a warning), roll_back (to the last "
            "checkpoint, once for each step)",
            &job.training.on_non_finite, {.may_change_on_resume = true});
  table.add("training.max_consecutive_skips", "with skip: so many updates in a row skipped end the run; 0 = no limit",
            &job.training.max_consecutive_skips, {.range = at_least(0), .may_change_on_resume = true});
  table.add("training.divergence_factor", "stop when validation is this much worse than its best; 0 = never",
            &job.training.divergence_factor, {.range = at_least(0)});
}

}  // namespace leda::config
