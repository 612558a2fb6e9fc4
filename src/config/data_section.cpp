#include "config/job_sections.hpp"
#include "ct/hounsfield.hpp"

namespace leda::config {

void bind_data(OptionTable& table, training::JobOptions& job) {
  table.section("data", "shards, phantoms, window");
  table.add("data.source", "shards (found in data.folder), or phantoms (written there when missing)", &job.data.source);
  table.add("data.folder", "holds train/, validation/ and test/ with *.h5 shards", &job.data.folder,
            {.may_change_on_resume = true});
  table.add("data.window",
            "HU range the networks see: leda [-1000, 2000], abdomen [-160, 240], wide [-1000, 1000], LOW:HIGH",
            &job.data.window, {.check = ct::window_of});
  table.add("data.queue_depth", "steps loaded ahead of training", &job.data.queue_depth,
            {.range = at_least(1), .may_change_on_resume = true});
  table.add("data.phantom_size", "phantoms: pixels a side, 64 to 512, a multiple of 16", &job.data.phantom_size,
            {.range = multiple_of(16, between(64, 512))});
  table.add("data.num_train_patients", "phantoms: patients to train on", &job.data.num_train_patients,
            {.range = at_least(1)});
  table.add("data.num_validation_patients", "phantoms: patients to choose by", &job.data.num_validation_patients,
            {.range = at_least(1)});
  table.add("data.num_test_patients", "phantoms: patients to report on", &job.data.num_test_patients,
            {.range = at_least(1)});
  table.add("data.slices_per_patient", "phantoms: slices of each patient", &job.data.slices_per_patient,
            {.range = at_least(1)});
  table.add("data.dose_fraction", "phantoms: low dose as a share of normal dose", &job.data.dose_fraction,
            {.range = Range{.lowest = 0.0, .highest = 1.0, .is_lowest_excluded = true}});
  table.add("data.phantom_seed", "phantoms: another number, other patients", &job.data.phantom_seed);
}

}  // namespace leda::config
