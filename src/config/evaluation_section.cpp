#include "config/job_sections.hpp"
#include "ct/hounsfield.hpp"

namespace leda::config {

void bind_evaluation(OptionTable& table, training::JobOptions& job) {
  table.section("evaluation", "table and picture at the end");
  table.add("evaluation.max_tuning_slices", "validation slices that Gaussian and non-local means are tuned on",
            &job.evaluation.max_tuning_slices, {.range = at_least(1), .may_change_on_resume = true});
  table.add("evaluation.picture_window", "HU range of the comparison picture", &job.evaluation.picture_window,
            {.check = ct::window_of, .may_change_on_resume = true});
  table.add("evaluation.word_maps",
            "after stage 1, count how often the words of the test slices name the right tissue "
            "(pretrain/word_maps.json)",
            &job.evaluation.word_maps, {.may_change_on_resume = true});
}

}  // namespace leda::config
