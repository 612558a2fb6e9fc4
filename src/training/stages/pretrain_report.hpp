// What stage 1 leaves behind for people when it ends: a picture of its token usage and, if asked for, the score of its
// word maps. Free functions.
#pragma once

#include <filesystem>

#include "data/shards/shard_catalogue.hpp"
#include "logging/console.hpp"
#include "training/stages/pretrain_stage.hpp"
#include "training/stages/stage_context.hpp"

namespace leda::training {

// token_usage.png of the folder's log.jsonl: distinct tokens, perplexity and dead words per level over steps, of all
// starts of the run. A log without such figures makes no picture; one that cannot be read or written is a warning.
void draw_token_usage(const std::filesystem::path& folder, logging::Console& console);

// word_maps.json (docs/formats/word_maps.md), and a line on the console for each row. Collective.
void report_word_maps(const PretrainStage& stage, const StageContext& context, const data::ShardCatalogue& catalogue,
                      const std::filesystem::path& folder);

}  // namespace leda::training
