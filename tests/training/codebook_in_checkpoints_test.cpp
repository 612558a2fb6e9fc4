// The frozen codebook is not in stage 1's checkpoints: its hash stands for it, and checkpoints that hold it are read.
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <optional>

#include "base/error.hpp"
#include "language/vocabulary.hpp"
#include "logging/console.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

constexpr const char* kEntry = "autoencoder.quantize.embedding.weight";

class CodebookInCheckpoints : public testing::Test {
 protected:
  CodebookInCheckpoints() { test::write_tiny_phantoms(folder_.path()); }

  // What `use` makes of a stage whose first weights are keyed by `seed`.
  template <typename Use>
  void with_stage(distributed::Communicator& communicator, const language::Vocabulary& vocabulary, std::uint64_t seed,
                  const Use& use) const {
    const JobOptions options = test::tiny_job(folder_.path());
    logging::Console console(communicator.rank());
    const auto validation = data::ShardCatalogue::open(folder_.path() / "validation");
    const StageContext context{options.training,      options.distributed,         communicator, console, validation,
                               ct::window_of("leda"), {at::kFloat, at::kCPU, seed}};
    PretrainStage stage(context, options.pretrain, pretrain_plan(options), vocabulary);
    use(stage);
  }

  StageState state_of(std::uint64_t seed) const {
    std::optional<StageState> state;
    test::run_ranks(1, [&](distributed::Communicator& alone) {
      with_stage(alone, language::load_vocabulary("builtin"), seed, [&](PretrainStage& stage) {
        state = stage.state();
        for (auto& [name, tensor] : state->networks.tensors) tensor = tensor.clone();
      });
    });
    return *state;
  }

  static bool holds_codebook(const StageState& state) {
    return std::any_of(state.networks.tensors.begin(), state.networks.tensors.end(),
                       [](const auto& entry) { return entry.first == kEntry; });
  }

  const test::TemporaryFolder folder_;
};

TEST_F(CodebookInCheckpoints, IsLeftOutAndComesBackFromTheVocabulary) {
  const StageState saved = state_of(1);
  EXPECT_FALSE(holds_codebook(saved));
  test::run_ranks(1, [&](distributed::Communicator& alone) {
    with_stage(alone, language::load_vocabulary("builtin"), 2, [&](PretrainStage& stage) {
      const at::Tensor before = stage.autoencoder().codebook().clone();
      stage.load_state(saved);
      EXPECT_TRUE(at::equal(stage.autoencoder().codebook(), before));
      const StageState loaded = stage.state();
      ASSERT_EQ(loaded.networks.tensors.size(), saved.networks.tensors.size());
      for (std::size_t i = 0; i < saved.networks.tensors.size(); ++i) {
        EXPECT_EQ(loaded.networks.tensors[i].first, saved.networks.tensors[i].first);
        EXPECT_TRUE(at::equal(loaded.networks.tensors[i].second, saved.networks.tensors[i].second));
      }
    });
  });
}

TEST_F(CodebookInCheckpoints, OfOlderOnesIsRead) {
  StageState saved = state_of(1);
  test::run_ranks(1, [&](distributed::Communicator& alone) {
    with_stage(alone, language::load_vocabulary("builtin"), 2, [&](PretrainStage& stage) {
      saved.networks.tensors.emplace_back(kEntry, stage.autoencoder().codebook().clone());
      EXPECT_NO_THROW(stage.load_state(saved));
      saved.networks.tensors.back().second[0][0] += 1.0;
      EXPECT_EQ(test::exit_code_of([&] { stage.load_state(saved); }), base::ExitCode::internal)
          << "a checkpoint with another codebook than it says";
    });
  });
}

TEST_F(CodebookInCheckpoints, OfAnotherVocabularyIsRefused) {
  StageState saved = state_of(1);
  for (auto& [name, text] : saved.facts) {
    if (name == "codebook_hash") text = "0123456789abcdef";
  }
  test::run_ranks(1, [&](distributed::Communicator& alone) {
    with_stage(alone, language::load_vocabulary("builtin"), 1, [&](PretrainStage& stage) {
      const std::string said = test::refusal_message(base::ExitCode::data, [&] { stage.load_state(saved); });
      EXPECT_THAT(said, testing::AllOf(testing::HasSubstr("0123456789abcdef"), testing::HasSubstr("vocabulary.file")));
    });
  });
}

TEST_F(CodebookInCheckpoints, OfAnotherRankIsRefusedBeforeAnythingIsTrained) {
  test::run_ranks(3, [&](distributed::Communicator& ranks) {
    language::Vocabulary vocabulary = language::load_vocabulary("builtin");
    if (ranks.rank() == 2) vocabulary.embeddings[7][3] += 0.5;
    const std::string said = test::refusal_message<base::ErrorOnAllRanks>(
        base::ExitCode::communication, [&] { with_stage(ranks, vocabulary, 1, [](PretrainStage&) {}); });
    EXPECT_THAT(said, testing::AllOf(testing::HasSubstr("rank 2"), testing::HasSubstr("vocabulary.file")));
  });
}

}  // namespace
}  // namespace leda::training
