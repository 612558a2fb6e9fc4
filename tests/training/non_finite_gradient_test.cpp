// A rank whose gradients are not finite: every rank stops, skips the update, or rolls back, as the job wishes, whether
// the fault is looked for before the sum or noted on the device.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "checkpoint/checkpoint_store.hpp"
#include "language/vocabulary.hpp"
#include "storage/durable_file.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/loop/training_loop.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/denoiser_stage.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kNumSteps = 9;
constexpr std::int64_t kPoisonedStep = 4;
constexpr int kPoisonedRank = 1;

// A stage whose input is NaN on one rank in one step.
class PoisonedStage : public Stage {
 public:
  PoisonedStage(std::unique_ptr<Stage> stage, int rank, std::function<bool(std::int64_t step)> is_poisoned)
      : stage_(std::move(stage)), rank_(rank), is_poisoned_(std::move(is_poisoned)) {}

  LossReport train_step(const data::StepBatch& batch, bool is_logged) override {
    if (rank_ != kPoisonedRank || !is_poisoned_(batch.step)) return stage_->train_step(batch, is_logged);
    data::StepBatch poisoned = batch;
    for (ct::ImageBatch& images : poisoned.micro_batches) {
      images.normal_dose = images.normal_dose * std::nan("");
      if (images.low_dose.defined()) images.low_dose = images.low_dose * std::nan("");
    }
    return stage_->train_step(poisoned, is_logged);
  }
  std::vector<SkippedUpdates> collect_skipped_updates() override { return stage_->collect_skipped_updates(); }
  std::vector<logging::Scalar> interval_figures() override { return stage_->interval_figures(); }
  std::optional<ValidationReport> validate(std::int64_t step, const std::function<bool()>& should_stop) override {
    return stage_->validate(step, should_stop);
  }
  StageState state() const override { return stage_->state(); }
  void load_state(const StageState& state) override { stage_->load_state(state); }
  std::string identity() const override { return stage_->identity(); }

 private:
  std::unique_ptr<Stage> stage_;
  int rank_;
  std::function<bool(std::int64_t step)> is_poisoned_;
};

struct Life {
  bool is_pretrain = false;
  int num_ranks = 2;
  int stop_after = 0;  // updates of this life; 0 = none
  std::function<bool(std::int64_t step)> is_poisoned = [](std::int64_t step) { return step == kPoisonedStep; };
};

bool never(std::int64_t) { return false; }

class NonFiniteGradientRuns : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    data_ = std::make_unique<test::TemporaryFolder>();
    test::write_tiny_phantoms(data_->path());
  }
  static void TearDownTestSuite() { data_.reset(); }

  static JobOptions job(NonFiniteReaction reaction, distributed::NonFiniteCheck check) {
    JobOptions options = test::tiny_job(data_->path());
    options.training.precision = Precision::float32;
    options.training.on_non_finite = reaction;
    options.distributed.non_finite_check = check;
    options.denoise.training.learning_rate = 1e-3;
    options.pretrain.training.learning_rate = 1e-3;
    options.pretrain.adversarial.learning_rate = 1e-3;
    return options;
  }

  // One process life; returns what it warned about.
  static std::string live(const JobOptions& options, const std::filesystem::path& folder, const Life& life) {
    char* text = nullptr;
    std::size_t length = 0;
    std::FILE* warnings = open_memstream(&text, &length);
    const auto end = [&] {
      std::fclose(warnings);
      const std::string said(text, length);
      std::free(text);
      return said;
    };
    try {
      test::run_ranks(life.num_ranks, [&](distributed::Communicator& communicator) {
        logging::Console console(communicator.rank(), stdout, warnings);
        live_on_rank(options, folder, life, communicator, console);
      });
    } catch (...) {
      end();
      throw;
    }
    return end();
  }

  static std::string final_bytes(const std::filesystem::path& folder) {
    std::string bytes;
    const std::filesystem::path last = folder / "checkpoints" / "step_00000009";
    for (const char* name : {"state.json", "networks.safetensors", "optimisers.safetensors"}) {
      bytes += storage::read_text_file(last / name);
    }
    return bytes;
  }

  static storage::TensorArchive final_archive(const std::filesystem::path& folder, const std::string& name) {
    return storage::load_safetensors(folder / "checkpoints" / "step_00000009" / (name + ".safetensors"));
  }

  static std::vector<nlohmann::json> log_lines(const std::filesystem::path& folder, const std::string& key) {
    std::istringstream text(storage::read_text_file(folder / "log.jsonl"));
    std::vector<nlohmann::json> lines;
    for (std::string line; std::getline(text, line);) {
      if (const auto entry = nlohmann::json::parse(line); entry.contains(key)) lines.push_back(entry);
    }
    return lines;
  }

 private:
  static void live_on_rank(const JobOptions& options, const std::filesystem::path& folder, const Life& life,
                           distributed::Communicator& communicator, logging::Console& console) {
    const auto training = data::ShardCatalogue::open(data_->path() / "train");
    const auto validation = data::ShardCatalogue::open(data_->path() / "validation");
    const StageContext context{options.training,      options.distributed,      communicator, console, validation,
                               ct::window_of("leda"), {at::kFloat, at::kCPU, 5}};
    std::unique_ptr<Stage> own;
    if (life.is_pretrain) {
      own = std::make_unique<PretrainStage>(context, options.pretrain, pretrain_plan(options),
                                            language::load_vocabulary("builtin"));
    } else {
      own = std::make_unique<DenoiserStage>(context, options.denoise, denoiser_plan(options, {}), 0.0, std::nullopt);
    }
    PoisonedStage stage(std::move(own), communicator.rank(), life.is_poisoned);
    const data::SliceLoader loader(training, {.window = context.window,
                                              .crop = life.is_pretrain ? 0 : 32,
                                              .flips = true,
                                              .needs_low_dose = !life.is_pretrain,
                                              .needs_tissue = life.is_pretrain,
                                              .seed = 5});
    checkpoint::CheckpointStore store(folder / "checkpoints", {.keep_last = 2}, stage.identity(), communicator,
                                      console);
    logging::RunLog log(console, folder, false);
    int asked = 0;
    const auto stop_requested = [&] {
      return life.stop_after > 0 && ++asked >= life.stop_after ? base::StopRequest::run_again : base::StopRequest::none;
    };
    const LoopOptions loop_options{options.logging, options.checkpoint_schedule, options.data.queue_depth};
    TrainingLoop loop({"test", kNumSteps, 4, schedule_of(1e-3, kNumSteps, 4, options.training), 5},
                      {stage, context, loop_options, loader, store, log, stop_requested});
    loop.run();
  }

  static std::unique_ptr<test::TemporaryFolder> data_;
};

std::unique_ptr<test::TemporaryFolder> NonFiniteGradientRuns::data_;

// The parameter: distributed.non_finite_check.
class NonFiniteGradients : public NonFiniteGradientRuns,
                           public testing::WithParamInterface<distributed::NonFiniteCheck> {
 protected:
  static JobOptions job(NonFiniteReaction reaction) { return NonFiniteGradientRuns::job(reaction, GetParam()); }
};

INSTANTIATE_TEST_SUITE_P(Check, NonFiniteGradients,
                         testing::Values(distributed::NonFiniteCheck::before_sum,
                                         distributed::NonFiniteCheck::on_device));

TEST_P(NonFiniteGradients, StopNamesRankParameterAndStepAndLeavesTheCheckpointBefore) {
  const test::TemporaryFolder folder;
  for (const bool is_pretrain : {false, true}) {
    const std::filesystem::path run = folder.path() / (is_pretrain ? "1" : "2");
    const auto error = test::thrown_error<NonFiniteGradientError>(
        [&] { live(job(NonFiniteReaction::stop), run, {.is_pretrain = is_pretrain}); });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->exit_code(), base::ExitCode::non_finite);
    EXPECT_EQ(error->step(), kPoisonedStep);
    EXPECT_THAT(error->text().value, AllOf(HasSubstr("rank 1, parameter "), HasSubstr(", step 4")));
    EXPECT_TRUE(std::filesystem::exists(run / "checkpoints" / "step_00000004"));
    EXPECT_FALSE(std::filesystem::exists(run / "checkpoints" / "step_00000008"));
    // Without the fault the run goes on from there, to the bytes of one that never met it.
    live(job(NonFiniteReaction::stop), run, {.is_pretrain = is_pretrain, .is_poisoned = never});
    const test::TemporaryFolder straight;
    live(job(NonFiniteReaction::stop), straight.path(), {.is_pretrain = is_pretrain, .is_poisoned = never});
    EXPECT_TRUE(final_bytes(run) == final_bytes(straight.path()));
  }
}

TEST_P(NonFiniteGradients, SkipLeavesOneUpdateOutWarnsAndGoesOnToFiniteResults) {
  for (const bool is_pretrain : {false, true}) {
    const test::TemporaryFolder folder;
    const std::string warnings = live(job(NonFiniteReaction::skip), folder.path(), {.is_pretrain = is_pretrain});
    EXPECT_THAT(warnings,
                AllOf(HasSubstr("1 update by step 5 skipped"), HasSubstr("rank 1, parameter "), HasSubstr(", step 4")));
    for (const auto& [name, tensor] : final_archive(folder.path(), "networks").tensors) {
      EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
    }
    for (const auto& [name, tensor] : final_archive(folder.path(), "optimisers").tensors) {
      EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
      if (name.find("num_updates.") != std::string::npos) {
        EXPECT_EQ(tensor.item<float>(), static_cast<float>(kNumSteps - 1)) << name;
      }
    }
    const auto lines = log_lines(folder.path(), kSkippedUpdates);
    ASSERT_EQ(lines.size(), 3u);  // steps 3, 6, 9
    EXPECT_EQ(lines[0][kSkippedUpdates], 0.0);
    EXPECT_EQ(lines[1][kSkippedUpdates], 1.0);
    EXPECT_EQ(lines[2][kSkippedUpdates], 0.0);
    for (const auto& line : lines) EXPECT_TRUE(line["loss"].is_number()) << line;
  }
}

TEST_P(NonFiniteGradients, SkipOfAWholeIntervalIsLogged) {
  const test::TemporaryFolder folder;
  const std::string warnings = live(job(NonFiniteReaction::skip), folder.path(),
                                    {.is_poisoned = [](std::int64_t step) { return step >= 3 && step < 6; }});
  EXPECT_THAT(warnings, HasSubstr("rank 1, parameter "));
  const auto lines = log_lines(folder.path(), kSkippedUpdates);
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[1][kSkippedUpdates], 3.0);
  EXPECT_FALSE(lines[1].contains("loss"));
  EXPECT_TRUE(lines[2].contains("loss"));
}

TEST_P(NonFiniteGradients, SkipIsTheSameInterruptedOrNot) {
  for (const bool is_pretrain : {false, true}) {
    const test::TemporaryFolder straight;
    live(job(NonFiniteReaction::skip), straight.path(), {.is_pretrain = is_pretrain});
    for (const int stop_after : is_pretrain ? std::vector{5} : std::vector{3, 5, 6}) {
      const test::TemporaryFolder broken;
      live(job(NonFiniteReaction::skip), broken.path(), {.is_pretrain = is_pretrain, .stop_after = stop_after});
      live(job(NonFiniteReaction::skip), broken.path(), {.is_pretrain = is_pretrain});
      EXPECT_TRUE(final_bytes(broken.path()) == final_bytes(straight.path())) << stop_after;
    }
  }
}

TEST_P(NonFiniteGradients, RollBackOfAFaultThatPassesGivesTheBytesOfAnUndisturbedRun) {
  for (const bool is_pretrain : {false, true}) {
    const test::TemporaryFolder undisturbed;
    live(job(NonFiniteReaction::roll_back), undisturbed.path(), {.is_pretrain = is_pretrain, .is_poisoned = never});
    for (const std::int64_t step : {std::int64_t{1}, kPoisonedStep}) {  // before and after the first checkpoint
      const test::TemporaryFolder folder;
      bool has_passed = false;
      const auto once = [&](std::int64_t now) { return now == step && !std::exchange(has_passed, true); };
      const std::string warnings =
          live(job(NonFiniteReaction::roll_back), folder.path(), {.is_pretrain = is_pretrain, .is_poisoned = once});
      EXPECT_THAT(warnings, AllOf(HasSubstr("rank 1, parameter "), HasSubstr("back to the last checkpoint")));
      EXPECT_TRUE(final_bytes(folder.path()) == final_bytes(undisturbed.path())) << step;
    }
  }
}

TEST_P(NonFiniteGradients, RollBackStopsAtTheSecondFaultOfAStep) {
  const test::TemporaryFolder folder;
  int num_faults = 0;
  const auto always = [&](std::int64_t step) {
    if (step == kPoisonedStep) ++num_faults;
    return step == kPoisonedStep;
  };
  const auto error = test::thrown_error<NonFiniteGradientError>(
      [&] { live(job(NonFiniteReaction::roll_back), folder.path(), {.is_poisoned = always}); });
  ASSERT_TRUE(error);
  EXPECT_THAT(error->text().value, HasSubstr(", step 4"));
  EXPECT_EQ(num_faults, 2);
}

TEST_P(NonFiniteGradients, AllRanksAgreeInAReproducibleStepToo) {
  JobOptions options = job(NonFiniteReaction::skip);
  options.distributed.reproducible = true;
  options.pretrain.discriminator.norm = models::DiscriminatorNorm::group;
  const test::TemporaryFolder folder;
  EXPECT_THAT(live(options, folder.path(), {.is_pretrain = true, .num_ranks = 3}), HasSubstr("rank 1, parameter "));
  for (const auto& [name, tensor] : final_archive(folder.path(), "networks").tensors) {
    EXPECT_TRUE(at::isfinite(tensor).all().item<bool>()) << name;
  }
}

// Finite on every rank, infinite together: nobody's fault, and no update either.
TEST_P(NonFiniteGradients, AnInfiniteSumOfFiniteGradientsIsSkippedToo) {
  test::run_ranks(2, [&](distributed::Communicator& communicator) {
    const at::Tensor weight = at::ones({3}, at::kFloat).set_requires_grad(true);
    const std::vector<models::NamedTensor> parameters{{"weight", weight}};
    UpdateOptions options;
    options.on_non_finite = NonFiniteReaction::skip;
    options.synchronizer.non_finite_check = GetParam();
    ParameterUpdater updater(parameters, options, plan_for(parameters, options.synchronizer), communicator);
    const auto update = [&](std::int64_t step, double slope) {
      updater.begin_step(step, 1, 2);
      updater.accumulate((weight * at::full({3}, slope, at::kFloat)).sum(), true);
      return updater.update(0.1);
    };
    EXPECT_EQ(update(0, 2e38).is_skipped.item<float>(), 1.0f);
    EXPECT_TRUE(weight.equal(at::ones({3})));
    EXPECT_EQ(update(1, 1.0).is_skipped.item<float>(), 0.0f);
    EXPECT_TRUE(weight.allclose(at::full({3}, 0.9), 1e-5));  // Adam's first update, as if the other had not been
    const auto skipped = updater.collect_skipped_updates();
    ASSERT_TRUE(skipped);
    EXPECT_EQ(skipped->count, 1);
    EXPECT_EQ(skipped->text(), "the sum over ranks of finite gradients, step 0");
    EXPECT_FALSE(updater.collect_skipped_updates());
  });
}

TEST_P(NonFiniteGradients, SkipEndsAtTheLimitOfUpdatesInARowOnAllRanks) {
  JobOptions options = job(NonFiniteReaction::skip);
  options.training.max_consecutive_skips = 3;
  for (const bool is_pretrain : {false, true}) {
    const test::TemporaryFolder folder;
    const auto error = test::thrown_error<NonFiniteGradientError>([&] {
      live(options, folder.path(),
           {.is_pretrain = is_pretrain, .is_poisoned = [](std::int64_t step) { return step >= 4 && step < 7; }});
    });
    ASSERT_TRUE(error);
    EXPECT_EQ(error->exit_code(), base::ExitCode::non_finite);
    EXPECT_THAT(error->text().what, HasSubstr("3 updates in a row were skipped"));
    EXPECT_THAT(error->text().value, HasSubstr("rank 1, parameter "));
    EXPECT_TRUE(std::filesystem::exists(folder.path() / "checkpoints" / "step_00000004"));
  }
}

// Every other step, and more in all than the limit: training gets on.
TEST_P(NonFiniteGradients, SkipsApartFromEachOtherReachNoLimit) {
  JobOptions options = job(NonFiniteReaction::skip);
  options.training.max_consecutive_skips = 2;
  const test::TemporaryFolder folder;
  live(options, folder.path(), {.is_poisoned = [](std::int64_t step) { return step % 2 == 1; }});
  EXPECT_FALSE(final_bytes(folder.path()).empty());
}

// Told to the host at every fourth update only: a row that began before and one that ended since are both seen.
TEST_P(NonFiniteGradients, TheRowIsCountedAcrossReportsAndWithinThem) {
  const auto last_report = [](const std::string& updates, std::int64_t limit) {
    std::string outcome = "none";
    test::run_ranks(2, [&](distributed::Communicator& communicator) {
      const at::Tensor weight = at::ones({3}, at::kFloat).set_requires_grad(true);
      const std::vector<models::NamedTensor> parameters{{"weight", weight}};
      UpdateOptions update_options;
      update_options.on_non_finite = NonFiniteReaction::skip;
      update_options.max_consecutive_skips = limit;
      update_options.synchronizer.non_finite_check = GetParam();
      ParameterUpdater updater(parameters, update_options, plan_for(parameters, update_options.synchronizer),
                               communicator);
      const auto error = test::thrown_error<NonFiniteGradientError>([&] {
        for (std::size_t step = 0; step < updates.size(); ++step) {
          const bool is_bad = updates[step] == 'x' && communicator.rank() == 1;
          updater.begin_step(static_cast<std::int64_t>(step), 1, 2);
          updater.accumulate((weight * at::full({3}, is_bad ? std::nan("") : 1.0, at::kFloat)).sum(), true);
          updater.update(0.1);
          if (step % 4 == 3) updater.collect_skipped_updates();
        }
        updater.collect_skipped_updates();
      });
      if (communicator.rank() == 0) outcome = error ? error->text().what : "none";
    });
    return outcome;
  };
  EXPECT_THAT(last_report("..xxxx..", 4), HasSubstr("4 updates in a row"));
  EXPECT_THAT(last_report("xxx.....", 3), HasSubstr("3 updates in a row"));
  EXPECT_EQ(last_report("..xxx.xx", 4), "none");
  EXPECT_EQ(last_report("xxxxxxxxxxxx", 0), "none");
}

// Masked on the device or left out by the host: the same bits.
TEST_F(NonFiniteGradientRuns, BothChecksLeaveTheSameBytes) {
  for (const bool is_pretrain : {false, true}) {
    const test::TemporaryFolder by_host;
    live(job(NonFiniteReaction::skip, distributed::NonFiniteCheck::before_sum), by_host.path(),
         {.is_pretrain = is_pretrain});
    const test::TemporaryFolder on_device;
    live(job(NonFiniteReaction::skip, distributed::NonFiniteCheck::on_device), on_device.path(),
         {.is_pretrain = is_pretrain});
    EXPECT_TRUE(final_bytes(by_host.path()) == final_bytes(on_device.path()));
  }
}

}  // namespace
}  // namespace leda::training
