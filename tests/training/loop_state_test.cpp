#include "training/loop/loop_state.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace leda::training {
namespace {

SavedLoop example() {
  return {.progress = {.step = 25, .best_step = 20, .best_criterion = 6.25},
          .num_steps = 100,
          .steps_per_epoch = 10,
          .global_batch = 4,
          .seed = 18446744073709551615u,
          .learning_rate = 0.001,
          .data_fingerprint = "0123456789abcdef",
          .environment = {{"instruction_set", "AVX2"}, {"num_ranks", "2"}},
          .stage_facts = {{"bucket_plan", "1 2\n3"}, {"codebook_hash", "ff"}}};
}

TEST(LoopState, WhatIsWrittenIsWhatTheFormatSays) {
  const nlohmann::json found = nlohmann::json::parse(to_json(example()));
  const nlohmann::json wanted = {{"step", 25},
                                 {"num_steps", 100},
                                 {"epoch", 2},
                                 {"position_in_epoch", 5},
                                 {"global_batch", 4},
                                 {"seed", 18446744073709551615u},
                                 {"learning_rate", 0.001},
                                 {"data_fingerprint", "0123456789abcdef"},
                                 {"best", {{"step", 20}, {"criterion", 6.25}}},
                                 {"machine", {{"instruction_set", "AVX2"}, {"num_ranks", "2"}}},
                                 {"stage", {{"bucket_plan", "1 2\n3"}, {"codebook_hash", "ff"}}}};
  EXPECT_EQ(found, wanted);
  EXPECT_EQ(to_json(example()), to_json(example()));
}

TEST(LoopState, ALoopGoesOnWithWhatItSaved) {
  SavedLoop written = example();
  written.progress.is_validation_pending = true;
  const SavedLoop read = saved_loop_of(to_json(written));
  EXPECT_EQ(read.progress.step, 25);
  EXPECT_EQ(read.progress.best_step, 20);
  EXPECT_EQ(read.progress.best_criterion, 6.25);
  EXPECT_TRUE(read.progress.is_validation_pending);
  EXPECT_EQ(read.data_fingerprint, written.data_fingerprint);
  EXPECT_EQ(read.environment, written.environment);
  EXPECT_EQ(read.stage_facts, written.stage_facts);
  EXPECT_FALSE(saved_loop_of(to_json(example())).progress.is_validation_pending);
}

TEST(LoopState, FactsOfTheMachineMayBeNumbersInOlderFiles) {
  nlohmann::json older = nlohmann::json::parse(to_json(example()));
  older["machine"]["num_ranks"] = 2;
  EXPECT_EQ(saved_loop_of(older.dump()).environment, example().environment);
}

TEST(LoopState, WhatItDidNotWriteIsRefused) {
  EXPECT_THROW(saved_loop_of("{}"), nlohmann::json::exception);
  EXPECT_THROW(saved_loop_of("no JSON"), nlohmann::json::exception);
}

}  // namespace
}  // namespace leda::training
