// A run that was interrupted and a run that was not leave the same bytes, at any step, in either stage.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "checkpoint/checkpoint_store.hpp"
#include "language/vocabulary.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/loop/training_loop.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/denoiser_stage.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

constexpr std::int64_t kStepsOfRun = 11;

class Resume : public testing::TestWithParam<bool> {  // true: stage 1
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    data_ = std::make_unique<test::TemporaryFolder>();
    test::write_tiny_phantoms(data_->path());
  }
  static void TearDownTestSuite() { data_.reset(); }

  // One process life: asked after each update and before each round of validation whether it shall stop, it says yes
  // from the `stop_after`-th time on; 0 = never.
  static base::StopRequest live_once(bool is_pretrain, const std::filesystem::path& folder, int num_ranks,
                                     int stop_after, std::int64_t bucket_bytes = 1 << 20) {
    base::StopRequest outcome = base::StopRequest::none;
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      JobOptions options = test::tiny_job(data_->path());
      options.pretrain.adversarial.start_step = 6;  // in the middle
      options.training.precision = Precision::float32;
      options.distributed.bucket_bytes = bucket_bytes;
      options.distributed.first_bucket_bytes = bucket_bytes;
      options.training.max_micro_batch = 1;
      options.training.num_warm_up_steps = 3;
      options.training.final_learning_rate_fraction = 0.1;
      options.training.validate_every_num_steps = 4;
      logging::Console console(communicator.rank());
      const auto training = data::ShardCatalogue::open(data_->path() / "train");
      const auto validation = data::ShardCatalogue::open(data_->path() / "validation");
      const StageContext context{options.training,      options.distributed,      communicator, console, validation,
                                 ct::window_of("leda"), {at::kFloat, at::kCPU, 5}};
      std::unique_ptr<Stage> stage;
      if (is_pretrain) {
        stage = std::make_unique<PretrainStage>(context, options.pretrain, pretrain_plan(options),
                                                language::load_vocabulary("builtin"));
      } else {
        stage =
            std::make_unique<DenoiserStage>(context, options.denoise, denoiser_plan(options, {}), 0.0, std::nullopt);
      }
      const data::SliceLoader loader(training, {.window = context.window,
                                                .crop = is_pretrain ? 0 : 32,
                                                .flips = true,
                                                .needs_low_dose = !is_pretrain,
                                                .needs_tissue = is_pretrain,
                                                .seed = 5});
      checkpoint::CheckpointStore store(folder / "checkpoints", {.keep_last = 2}, stage->identity(), communicator,
                                        console);
      logging::RunLog log(console, folder, false);
      int asked = 0;
      const auto stop_requested = [&] {
        return stop_after > 0 && ++asked >= stop_after ? base::StopRequest::run_again : base::StopRequest::none;
      };
      const TrainingPlan plan{"test", kStepsOfRun, 5, schedule_of(2e-3, kStepsOfRun, 5, options.training), 5};
      const LoopOptions loop_options{options.logging, options.checkpoint_schedule, options.data.queue_depth};
      TrainingLoop loop(plan, {*stage, context, loop_options, loader, store, log, stop_requested});
      const base::StopRequest stop = loop.run();
      if (communicator.rank() == 0) outcome = stop;
    });
    return outcome;
  }

  // Of the newest checkpoint.
  static bool is_validation_pending(const std::filesystem::path& folder) {
    std::filesystem::path newest;
    for (const auto& entry : std::filesystem::directory_iterator(folder / "checkpoints")) {
      if (entry.path().filename().string().starts_with("step_")) newest = std::max(newest, entry.path());
    }
    return storage::read_text_file(newest / "state.json").find("validation_pending") != std::string::npos;
  }

  static std::string final_bytes(const std::filesystem::path& folder) {
    std::string bytes;
    const std::filesystem::path last = folder / "checkpoints" / "step_00000011";
    for (const char* name : {"manifest.json", "state.json", "networks.safetensors", "optimisers.safetensors"}) {
      bytes += storage::read_text_file(last / name);
    }
    return bytes;
  }

 private:
  static std::unique_ptr<test::TemporaryFolder> data_;
};

std::unique_ptr<test::TemporaryFolder> Resume::data_;

// Two ranks, four slices to validate: asked once after steps 1 to 3, at the 4th and 5th time before rounds of the
// validation after step 4, then after step 4, and so on. An answer is read when the next one is given.
TEST_P(Resume, InterruptedAtAnyStepAndInAnyValidationGivesTheSameBytes) {
  const test::TemporaryFolder straight;
  ASSERT_EQ(live_once(GetParam(), straight.path(), 2, 0), base::StopRequest::none);
  const std::string expected = final_bytes(straight.path());
  const std::set<int> in_validation{3, 4, 9, 10, 14, 15};  // after steps 4, 8 and the last
  // Every step of stage 1, which takes its time: launch/campaign resume exact.
  const std::vector<int> moments =
      GetParam() ? std::vector{2, 4, 10, 13} : std::vector{1, 2, 3, 4, 5, 6, 9, 10, 13, 14, 15};
  for (const int stop_after : moments) {
    const test::TemporaryFolder broken;
    ASSERT_EQ(live_once(GetParam(), broken.path(), 2, stop_after), base::StopRequest::run_again) << stop_after;
    EXPECT_EQ(is_validation_pending(broken.path()), in_validation.contains(stop_after)) << stop_after;
    ASSERT_EQ(live_once(GetParam(), broken.path(), 2, 0), base::StopRequest::none);
    EXPECT_TRUE(final_bytes(broken.path()) == expected) << "interrupted when asked for the " << stop_after << "th time";
    EXPECT_FALSE(is_validation_pending(broken.path()));
  }
}

// The plan, which state.json holds, is the checkpoint's whatever the options say now.
TEST_P(Resume, AnotherBucketSizeChangesNothing) {
  constexpr std::int64_t kSmallBuckets = 4000;
  const test::TemporaryFolder straight;
  ASSERT_EQ(live_once(GetParam(), straight.path(), 2, 0), base::StopRequest::none);
  const test::TemporaryFolder otherwise;
  ASSERT_EQ(live_once(GetParam(), otherwise.path(), 2, 0, kSmallBuckets), base::StopRequest::none);
  EXPECT_FALSE(final_bytes(otherwise.path()) == final_bytes(straight.path()));  // another plan from the start on
  const test::TemporaryFolder broken;
  ASSERT_EQ(live_once(GetParam(), broken.path(), 2, 5), base::StopRequest::run_again);
  ASSERT_EQ(live_once(GetParam(), broken.path(), 2, 0, kSmallBuckets), base::StopRequest::none);
  EXPECT_TRUE(final_bytes(broken.path()) == final_bytes(straight.path()));
}

TEST_P(Resume, ManyInterruptionsGiveTheSameBytes) {
  const test::TemporaryFolder straight;
  live_once(GetParam(), straight.path(), 1, 0);
  const test::TemporaryFolder broken;
  int lives = 1;
  // One time more than a validation of four slices asks: each life gets beyond the one it may begin with.
  while (lives < 20 && live_once(GetParam(), broken.path(), 1, 5) != base::StopRequest::none) ++lives;
  EXPECT_GE(lives, 3);
  EXPECT_LT(lives, 20);
  EXPECT_TRUE(final_bytes(broken.path()) == final_bytes(straight.path()));
}

TEST_P(Resume, AFinishedRunTrainsNoMore) {
  const test::TemporaryFolder folder;
  live_once(GetParam(), folder.path(), 1, 0);
  const auto written = std::filesystem::last_write_time(folder.path() / "checkpoints" / "step_00000011");
  EXPECT_EQ(live_once(GetParam(), folder.path(), 1, 0), base::StopRequest::none);
  EXPECT_EQ(std::filesystem::last_write_time(folder.path() / "checkpoints" / "step_00000011"), written);
}

INSTANTIATE_TEST_SUITE_P(BothStages, Resume, testing::Values(true, false),
                         [](const auto& which) { return which.param ? "Stage1" : "Stage2"; });

}  // namespace
}  // namespace leda::training
