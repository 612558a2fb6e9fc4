#include "config/job_sections.hpp"

namespace leda::config {

void bind_words(OptionTable& table, training::JobOptions& job) {
  table.section("words", "candidates of semantic loss");
  table.add("words.source", "of candidate words: tissue (HU ranges), or scores (of a CLIP model, in words.scores)",
            &job.pretrain.words.source);
  table.add("words.scores", "source scores: word score file of the training slices (docs/formats/word_scores.md)",
            &job.pretrain.words.scores, {.may_change_on_resume = true});
  table.add(
      "words.restrict_to_tissue",
      "source scores: of each position only terms of its cell's tissue, all of them where none is scored; false = "
      "one list for the image",
      &job.pretrain.words.restrict_to_tissue);
  table.add("words.placement", "source tissue: candidate words by position (of the token's own cell) or by image",
            &job.pretrain.words.placement);
  table.add("words.thresholds", "placement image, source scores: score from which a word is a candidate, per level",
            &job.pretrain.words.thresholds,
            {.range = Range{.lowest = 0.0, .highest = 1.0, .is_lowest_excluded = true}});
  table.add("words.air_weight", "placement position: weight of air pixels at all levels but the finest",
            &job.pretrain.words.air_weight, {.range = at_least(0)});
  table.add("words.tissue_weights",
            "placement position: weight of a pixel of air,lung,fat,water,soft,blood,bone,metal in deciding its cell's "
            "tissue; empty = 1 each",
            &job.pretrain.words.tissue_weights, {.range = at_least(0)});
  table.add("words.balance",
            "placement position: the semantic loss weighs a cell by its tissue's number of cells in the slice to the "
            "power of minus this; 0 = all alike, 1 = all tissues alike",
            &job.pretrain.words.balance, {.range = between(0, 1)});
  table.add("words.contrast",
            "what 90 to 200 HU is called: blood (enhanced), bone (none), or either by the slice (auto)",
            &job.pretrain.words.contrast);
}

}  // namespace leda::config
