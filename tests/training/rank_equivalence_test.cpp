// The same training on any number of ranks: losses, gradients and parameters of both stages, discriminator included.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <mutex>

#include "language/vocabulary.hpp"
#include "logging/console.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/autoencoder_file.hpp"
#include "training/denoiser_stage.hpp"
#include "training/pretrain_stage.hpp"

namespace leda::training {
namespace {

// What rank 0 saw: every step's reports, summed over ranks, and the state afterwards.
struct Trace {
  std::vector<std::vector<double>> reports;
  StageState state;
};

enum class Kind { pretrain, denoise };

class RankEquivalence : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    at::set_num_threads(1);
    folder_ = std::make_unique<test::TemporaryFolder>();
    test::write_tiny_phantoms(folder_->path());
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static const std::filesystem::path& folder() { return folder_->path(); }

  static std::unique_ptr<Stage> make_stage(Kind kind, const StageContext& context) {
    if (kind == Kind::pretrain) return std::make_unique<PretrainStage>(context, language::load_vocabulary("builtin"));
    AutoencoderFile file;
    file.window = context.window;
    file.autoencoder = std::make_unique<models::Autoencoder>(
        context.options.autoencoder,
        language::make_codebook(language::load_vocabulary("builtin"), true, context.settings.dtype), context.settings);
    file.autoencoder->tensors().freeze();
    return std::make_unique<DenoiserStage>(context, 0.5, std::move(file));
  }

  static Trace train(Kind kind, const JobOptions& options, int num_ranks, int num_steps) {
    Trace trace;
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      logging::Console console(communicator.rank());
      const auto training = data::ShardCatalogue::open(folder() / "train");
      const auto validation = data::ShardCatalogue::open(folder() / "validation");
      const ct::Window window = ct::window_of("leda");
      const models::TensorSettings settings{options.training.precision == "float64" ? at::kDouble : at::kFloat,
                                            at::kCPU, 7};
      const StageContext context{options, communicator, console, validation, window, settings};
      const std::unique_ptr<Stage> stage = make_stage(kind, context);
      const data::SliceLoader loader(training, {.window = window,
                                                .dtype = settings.dtype,
                                                .crop = kind == Kind::denoise ? 32 : 0,
                                                .flips = true,
                                                .needs_low_dose = kind == Kind::denoise,
                                                .needs_tissue = true,
                                                .seed = 7});
      const data::EpochOrder order(training.num_slices(), 7);
      const std::int64_t batch = options.training.global_batch;
      const data::BatchPlan plan{batch, batch, communicator.rank(), communicator.size()};
      for (int step = 0; step < num_steps; ++step) {
        const LossReport report = stage->train_step(data::load_step(loader, order, plan, step));
        std::vector<double> sums;
        for (const auto& [name, value] : report) {
          at::Tensor sum = value.to(at::kDouble).clone();
          distributed::all_reduce(communicator, sum);
          sums.push_back(sum.item<double>());
        }
        if (communicator.rank() == 0) trace.reports.push_back(sums);
      }
      if (communicator.rank() == 0) trace.state = stage->state();
      communicator.barrier();
    });
    return trace;
  }

  static void expect_equal(const Trace& one, const Trace& many, double tolerance) {
    ASSERT_EQ(one.reports.size(), many.reports.size());
    for (std::size_t step = 0; step < one.reports.size(); ++step) {
      for (std::size_t i = 0; i < one.reports[step].size(); ++i) {
        const double scale = std::max(1.0, std::abs(one.reports[step][i]));
        EXPECT_NEAR(one.reports[step][i], many.reports[step][i], tolerance * scale)
            << "step " << step << " entry " << i;
      }
    }
    ASSERT_EQ(one.state.networks.tensors.size(), many.state.networks.tensors.size());
    for (std::size_t i = 0; i < one.state.networks.tensors.size(); ++i) {
      const auto& [name, tensor] = one.state.networks.tensors[i];
      const double difference =
          (tensor.to(at::kDouble) - many.state.networks.tensors[i].second.to(at::kDouble)).abs().max().item<double>();
      EXPECT_LE(difference, tolerance) << name;
    }
  }

 private:
  static std::unique_ptr<test::TemporaryFolder> folder_;
};

std::unique_ptr<test::TemporaryFolder> RankEquivalence::folder_;

TEST_F(RankEquivalence, Stage1OneRankOfFourImagesEqualsFourRanksOfOne) {
  const JobOptions options = test::tiny_job(folder());
  expect_equal(train(Kind::pretrain, options, 1, 20), train(Kind::pretrain, options, 4, 20), 1e-9);
}

TEST_F(RankEquivalence, Stage2OneRankOfFourImagesEqualsFourRanksOfOne) {
  const JobOptions options = test::tiny_job(folder());
  expect_equal(train(Kind::denoise, options, 1, 20), train(Kind::denoise, options, 4, 20), 1e-9);
}

TEST_F(RankEquivalence, Stage1EightRanksShareAGlobalBatchOfTwo) {
  JobOptions options = test::tiny_job(folder());
  options.training.global_batch = 2;
  expect_equal(train(Kind::pretrain, options, 1, 6), train(Kind::pretrain, options, 8, 6), 1e-9);
}

TEST_F(RankEquivalence, Stage2EightRanksShareAGlobalBatchOfTwo) {
  JobOptions options = test::tiny_job(folder());
  options.training.global_batch = 2;
  expect_equal(train(Kind::denoise, options, 1, 6), train(Kind::denoise, options, 8, 6), 1e-9);
}

// 12 slices in batches of 5: the last step of an epoch has 2, of which ranks 1 and 2 of 3 take one each.
TEST_F(RankEquivalence, UnevenAndShortBatchesAreAveragedExactly) {
  JobOptions options = test::tiny_job(folder());
  options.training.global_batch = 5;
  expect_equal(train(Kind::pretrain, options, 1, 6), train(Kind::pretrain, options, 3, 6), 1e-9);
  expect_equal(train(Kind::denoise, options, 1, 6), train(Kind::denoise, options, 3, 6), 1e-9);
}

TEST_F(RankEquivalence, Float32AgreesInTheFirstStep) {
  JobOptions options = test::tiny_job(folder());
  options.training.precision = "float32";
  for (const Kind kind : {Kind::pretrain, Kind::denoise}) {
    const Trace one = train(kind, options, 1, 1);
    const Trace four = train(kind, options, 4, 1);
    for (std::size_t i = 0; i < one.reports[0].size(); ++i) {
      EXPECT_NEAR(one.reports[0][i], four.reports[0][i], 1e-4 * std::abs(one.reports[0][i]) + 1e-12) << "entry " << i;
    }
    // Adam's first moment after one step is (1 - beta1) times the gradient. A bias in front of a normalisation over its
    // own channel has gradient 0; what is found there is rounding, and is judged against the whole gradient.
    double whole_squared = 0.0;
    for (const auto& [name, tensor] : one.state.optimisers.tensors) {
      if (name.find("first_moment.") != std::string::npos) whole_squared += tensor.square().sum().item<double>();
    }
    for (std::size_t i = 0; i < one.state.optimisers.tensors.size(); ++i) {
      const auto& [name, first] = one.state.optimisers.tensors[i];
      if (name.find("first_moment.") == std::string::npos) continue;
      const at::Tensor other = four.state.optimisers.tensors[i].second;
      const double norm = first.norm().item<double>();
      EXPECT_LE((first - other).norm().item<double>(), 1e-4 * norm + 1e-6 * std::sqrt(whole_squared)) << name;
    }
  }
}

// Accumulation changes nothing where images do not couple: stage 2.
TEST_F(RankEquivalence, AccumulationEqualsOneLargeBatch) {
  JobOptions options = test::tiny_job(folder());
  const Trace whole = train(Kind::denoise, options, 1, 5);
  Trace pieces;
  test::run_ranks(1, [&](distributed::Communicator& communicator) {
    logging::Console console(0);
    const auto training = data::ShardCatalogue::open(folder() / "train");
    const auto validation = data::ShardCatalogue::open(folder() / "validation");
    const StageContext context{options,    communicator,          console,
                               validation, ct::window_of("leda"), {at::kDouble, at::kCPU, 7}};
    const std::unique_ptr<Stage> stage = make_stage(Kind::denoise, context);
    const data::SliceLoader loader(training, {.window = context.window,
                                              .dtype = at::kDouble,
                                              .crop = 32,
                                              .flips = true,
                                              .needs_low_dose = true,
                                              .needs_tissue = true,
                                              .seed = 7});
    const data::EpochOrder order(training.num_slices(), 7);
    for (int step = 0; step < 5; ++step) {
      const data::StepBatch batch = data::load_step(loader, order, {4, 1, 0, 1}, step);
      ASSERT_EQ(batch.micro_batches.size(), 4u);
      std::vector<double> sums;
      for (const auto& [name, value] : stage->train_step(batch)) sums.push_back(value.item<double>());
      pieces.reports.push_back(sums);
    }
    pieces.state = stage->state();
  });
  expect_equal(whole, pieces, 1e-9);
}

}  // namespace
}  // namespace leda::training
