// The same training on any number of ranks: losses, gradients and parameters of both stages, discriminator included.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <memory>
#include <mutex>

#include "base/error.hpp"
#include "language/vocabulary.hpp"
#include "logging/console.hpp"
#include "model_files/autoencoder_file.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/thread_ranks.hpp"
#include "tests/training/tiny_job.hpp"
#include "training/run/training_plans.hpp"
#include "training/stages/denoiser_stage.hpp"
#include "training/stages/pretrain_stage.hpp"

namespace leda::training {
namespace {

// What rank 0 saw: every step's reports, summed over ranks (and samples), and the state afterwards.
struct Trace {
  std::vector<std::vector<double>> reports;
  std::vector<logging::Scalar> figures;  // of every step
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

  static std::unique_ptr<Stage> make_stage(Kind kind, const JobOptions& options, const StageContext& context) {
    if (kind == Kind::pretrain) {
      return std::make_unique<PretrainStage>(context, options.pretrain, pretrain_plan(options),
                                             language::load_vocabulary("builtin"));
    }
    model_files::AutoencoderFile file;
    file.window = context.window;
    file.autoencoder = std::make_unique<models::Autoencoder>(
        options.pretrain.autoencoder,
        language::make_codebook(language::load_vocabulary("builtin"), true, context.settings.dtype), context.settings);
    file.autoencoder->tensors().freeze();
    return std::make_unique<DenoiserStage>(context, options.denoise, denoiser_plan(options, {}), 0.5, std::move(file));
  }

  static Trace train(Kind kind, const JobOptions& options, int num_ranks, int num_steps) {
    Trace trace;
    test::run_ranks(num_ranks, [&](distributed::Communicator& communicator) {
      logging::Console console(communicator.rank());
      const auto training = data::ShardCatalogue::open(folder() / "train");
      const auto validation = data::ShardCatalogue::open(folder() / "validation");
      const ct::Window window = ct::window_of("leda");
      const models::TensorSettings settings{options.training.precision == Precision::float64 ? at::kDouble : at::kFloat,
                                            at::kCPU, 7};
      const StageContext context{options.training, options.distributed, communicator, console, validation, window,
                                 settings};
      const std::unique_ptr<Stage> stage = make_stage(kind, options, context);
      const data::SliceLoader loader(training, {.window = window,
                                                .dtype = settings.dtype,
                                                .crop = kind == Kind::denoise ? 32 : 0,
                                                .flips = true,
                                                .needs_low_dose = kind == Kind::denoise,
                                                .needs_tissue = true,
                                                .seed = 7});
      const data::EpochOrder order(training.num_slices(), 7);
      const std::int64_t batch = options.training.global_batch;
      const bool is_reproducible = options.distributed.reproducible;
      const data::BatchPlan plan{batch, is_reproducible ? 1 : batch, communicator.rank(), communicator.size()};
      for (int step = 0; step < num_steps; ++step) {
        const bool is_logged = (step + 1) % options.logging.every_num_steps == 0;
        const LossReport report = stage->train_step(data::load_step(loader, order, plan, step), is_logged);
        std::vector<double> sums;
        for (const auto& [name, value] : report) {
          at::Tensor sum = value.to(at::kDouble).clone();
          distributed::all_reduce(communicator, sum);
          EXPECT_EQ(sum.dim(), is_reproducible ? 1 : 0) << name;
          sums.push_back(sum.sum().item<double>());
        }
        const std::vector<logging::Scalar> figures = stage->interval_figures();
        if (communicator.rank() != 0) continue;
        trace.reports.push_back(sums);
        trace.figures.insert(trace.figures.end(), figures.begin(), figures.end());
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
    ASSERT_EQ(one.figures.size(), many.figures.size());
    for (std::size_t i = 0; i < one.figures.size(); ++i) {
      const double scale = std::max(1.0, std::abs(one.figures[i].value));
      EXPECT_NEAR(one.figures[i].value, many.figures[i].value, tolerance * scale) << one.figures[i].name;
    }
    ASSERT_EQ(one.state.networks.tensors.size(), many.state.networks.tensors.size());
    for (std::size_t i = 0; i < one.state.networks.tensors.size(); ++i) {
      const auto& [name, tensor] = one.state.networks.tensors[i];
      const double difference =
          (tensor.to(at::kDouble) - many.state.networks.tensors[i].second.to(at::kDouble)).abs().max().item<double>();
      EXPECT_LE(difference, tolerance) << name;
    }
  }

  static void expect_same_bits(const storage::TensorArchive& one, const storage::TensorArchive& many) {
    ASSERT_EQ(one.tensors.size(), many.tensors.size());
    for (std::size_t i = 0; i < one.tensors.size(); ++i) {
      EXPECT_EQ(one.tensors[i].first, many.tensors[i].first);
      EXPECT_TRUE(one.tensors[i].second.equal(many.tensors[i].second)) << one.tensors[i].first;
    }
  }

  static void expect_same_bits(const Trace& one, const Trace& many) {
    EXPECT_EQ(one.reports, many.reports);
    ASSERT_EQ(one.figures.size(), many.figures.size());
    for (std::size_t i = 0; i < one.figures.size(); ++i) {
      EXPECT_EQ(one.figures[i].value, many.figures[i].value) << one.figures[i].name;
    }
    expect_same_bits(one.state.networks, many.state.networks);
    expect_same_bits(one.state.optimisers, many.state.optimisers);
  }

  // Learning rates at which ten steps move the networks.
  static JobOptions reproducible_job() {
    JobOptions options = test::tiny_job(folder());
    options.distributed.reproducible = true;
    options.pretrain.discriminator.norm = models::DiscriminatorNorm::group;
    options.training.precision = Precision::float32;
    options.training.max_gradient_norm = 1.0;
    options.pretrain.training.learning_rate = 1e-3;
    options.pretrain.adversarial.learning_rate = 1e-3;
    options.denoise.training.learning_rate = 1e-3;
    options.distributed.bucket_bytes = 20000;
    options.distributed.first_bucket_bytes = 5000;
    return options;
  }

  static void with_all_semantic_options(JobOptions& options) {
    options.pretrain.autoencoder.distance = models::WordDistance::cosine;
    options.pretrain.autoencoder.temperature = 0.2;
    options.pretrain.autoencoder.normalise_latents = true;
    options.pretrain.training.semantic_weighting = SemanticWeighting::dynamic;
    options.pretrain.training.semantic_weight = 20.0;
    options.pretrain.training.learning_rate = 1e-3;
    options.pretrain.words.balance = 0.5;
    options.pretrain.words.contrast = language::Contrast::automatic;
    options.pretrain.words.tissue_weights = {0.5, 1, 1, 2, 1, 1, 3, 1};
  }

 private:
  static std::unique_ptr<test::TemporaryFolder> folder_;
};

std::unique_ptr<test::TemporaryFolder> RankEquivalence::folder_;

TEST_F(RankEquivalence, Stage1OneRankOfFourImagesEqualsFourRanksOfOne) {
  const JobOptions options = test::tiny_job(folder());
  expect_equal(train(Kind::pretrain, options, 1, 20), train(Kind::pretrain, options, 4, 20), 1e-9);
}

// The dynamic weight, and weights of positions, are each image's own.
TEST_F(RankEquivalence, Stage1WithAllSemanticOptionsIsTheSameOnAnyNumberOfRanks) {
  JobOptions options = test::tiny_job(folder());
  options.pretrain.adversarial.weight = 0.0;
  with_all_semantic_options(options);
  const Trace one = train(Kind::pretrain, options, 1, 5);
  expect_equal(one, train(Kind::pretrain, options, 3, 5), 1e-9);
  options.distributed.reproducible = true;  // micro-batches of one image
  const Trace single_images = train(Kind::pretrain, options, 1, 5);
  expect_equal(one, single_images, 1e-9);
  expect_same_bits(single_images, train(Kind::pretrain, options, 3, 5));
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

JobOptions with_soft_token_term(JobOptions options) {
  options.denoise.leda.token_term = losses::TokenTerm::soft;
  options.denoise.leda.token_weight = 0.1;
  options.logging.every_num_steps = 1;
  options.training.global_batch = 5;  // 5, 5, 2 images a step: shares differ, and some ranks have none
  return options;
}

double figure(const Trace& trace, const std::string& name) {
  for (const logging::Scalar& scalar : trace.figures) {
    if (scalar.name == name) return scalar.value;
  }
  return std::nan("");
}

TEST_F(RankEquivalence, SoftTokenTermAndItsGradientRatioAreTheSameOnAnyNumberOfRanks) {
  const JobOptions options = with_soft_token_term(test::tiny_job(folder()));
  const Trace one = train(Kind::denoise, options, 1, 6);
  EXPECT_GT(figure(one, "leda_token_gradient_ratio"), 0.0);
  EXPECT_GT(figure(one, "leda_feature_gradient_ratio"), 0.0);
  for (const int num_ranks : {3, 8}) {
    SCOPED_TRACE(num_ranks);
    expect_equal(one, train(Kind::denoise, options, num_ranks, 6), 1e-9);
  }
  const JobOptions reproducible = with_soft_token_term(reproducible_job());
  const Trace one_by_one = train(Kind::denoise, reproducible, 1, 6);
  EXPECT_GT(figure(one_by_one, "leda_token_gradient_ratio"), 0.0);
  for (const int num_ranks : {3, 8}) {
    SCOPED_TRACE(num_ranks);
    expect_same_bits(one_by_one, train(Kind::denoise, reproducible, num_ranks, 6));
  }
}

// What measures must not steer: the gradients that are compared end before any parameter.
TEST_F(RankEquivalence, MeasuringGradientsChangesNoBitOfTheTraining) {
  JobOptions options = with_soft_token_term(test::tiny_job(folder()));
  const Trace measured = train(Kind::denoise, options, 2, 6);
  options.logging.every_num_steps = 1000;
  const Trace plain = train(Kind::denoise, options, 2, 6);
  EXPECT_TRUE(std::isnan(figure(plain, "leda_token_gradient_ratio")));
  EXPECT_EQ(measured.reports, plain.reports);
  expect_same_bits(measured.state.networks, plain.state.networks);
  expect_same_bits(measured.state.optimisers, plain.state.optimisers);
}

TEST_F(RankEquivalence, TermsOfWeightZeroAreInNoTotal) {
  JobOptions options = with_soft_token_term(test::tiny_job(folder()));
  options.denoise.leda.token_weight = 0.0;
  const Trace without = train(Kind::denoise, options, 1, 4);
  EXPECT_EQ(figure(without, "leda_token_gradient_ratio"), 0.0);
  options.denoise.leda.token_temperature = 7.0;  // changes the term, not the training
  const Trace other = train(Kind::denoise, options, 1, 4);
  expect_same_bits(without.state.networks, other.state.networks);
  options.denoise.leda.token_weight = 1.0;
  const Trace with = train(Kind::denoise, options, 1, 4);
  EXPECT_FALSE(with.state.networks.tensors[0].second.equal(other.state.networks.tensors[0].second));
}

TEST_F(RankEquivalence, Float32AgreesInTheFirstStep) {
  JobOptions options = test::tiny_job(folder());
  options.training.precision = Precision::float32;
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

// 12 slices in batches of 8: every other step is a short one of 4. Shares of one, two or three images, and none.
TEST_F(RankEquivalence, Stage1ReproducibleHasTheSameBitsOnAnyNumberOfRanks) {
  JobOptions options = reproducible_job();
  options.training.global_batch = 8;
  const Trace one = train(Kind::pretrain, options, 1, 10);
  for (const int num_ranks : {2, 3, 4, 5, 8}) {
    SCOPED_TRACE(num_ranks);
    expect_same_bits(one, train(Kind::pretrain, options, num_ranks, 10));
  }
}

TEST_F(RankEquivalence, Stage2ReproducibleHasTheSameBitsOnAnyNumberOfRanks) {
  JobOptions options = reproducible_job();
  options.training.global_batch = 8;
  const Trace one = train(Kind::denoise, options, 1, 10);
  for (const int num_ranks : {2, 3, 4, 5, 8}) {
    SCOPED_TRACE(num_ranks);
    expect_same_bits(one, train(Kind::denoise, options, num_ranks, 10));
  }
}

// 5, 5, 2 images a step: no share divides evenly.
TEST_F(RankEquivalence, ReproducibleHasTheSameBitsWhereRanksDoNotDivideTheBatch) {
  JobOptions options = reproducible_job();
  options.training.global_batch = 5;
  for (const Kind kind : {Kind::pretrain, Kind::denoise}) {
    const Trace one = train(kind, options, 1, 6);
    for (const int num_ranks : {2, 3}) {
      SCOPED_TRACE(num_ranks);
      expect_same_bits(one, train(kind, options, num_ranks, 6));
    }
  }
}

// What the mode is for, and that the tests above would see a difference.
TEST_F(RankEquivalence, WithoutTheModeTheBitsDependOnTheNumberOfRanks) {
  JobOptions options = reproducible_job();
  options.distributed.reproducible = false;
  const Trace one = train(Kind::denoise, options, 1, 10);
  const Trace three = train(Kind::denoise, options, 3, 10);
  bool is_same = true;
  for (std::size_t i = 0; i < one.state.networks.tensors.size(); ++i) {
    is_same = is_same && one.state.networks.tensors[i].second.equal(three.state.networks.tensors[i].second);
  }
  EXPECT_FALSE(is_same);
}

// The mode changes how sums are rounded, not what is summed: without a discriminator, whose weight becomes each
// image's own, it agrees with the plain step.
TEST_F(RankEquivalence, ReproducibleIsThePlainStepUpToRounding) {
  JobOptions options = reproducible_job();
  options.training.precision = Precision::float64;
  options.pretrain.adversarial.weight = 0.0;
  for (const Kind kind : {Kind::pretrain, Kind::denoise}) {
    options.distributed.reproducible = true;
    const Trace reproducible = train(kind, options, 2, 5);
    options.distributed.reproducible = false;
    expect_equal(reproducible, train(kind, options, 2, 5), 1e-9);
  }
}

TEST_F(RankEquivalence, ANetworkThatCouplesSamplesIsNotReproducible) {
  JobOptions options = reproducible_job();
  options.pretrain.discriminator.norm = models::DiscriminatorNorm::batch;
  const auto fault =
      test::refusal_of<base::ErrorOnAllRanks>(base::ExitCode::options, [&] { train(Kind::pretrain, options, 2, 1); });
  EXPECT_NE(fault.text().remedy.find("discriminator.norm = group"), std::string::npos);
  options.pretrain.adversarial.weight = 0.0;  // nothing couples without a discriminator
  EXPECT_NO_THROW(train(Kind::pretrain, options, 2, 1));
}

// Rounded on the wire: near the plain result, and the same on every rank.
TEST_F(RankEquivalence, Bfloat16OnTheWireTrainsAlmostAlike) {
  JobOptions options = test::tiny_job(folder());
  const Trace plain = train(Kind::denoise, options, 3, 5);
  options.distributed.gradient_compression = distributed::GradientCompression::bfloat16;
  const Trace rounded = train(Kind::denoise, options, 3, 5);
  double largest = 0.0;
  for (std::size_t i = 0; i < plain.state.networks.tensors.size(); ++i) {
    const auto& [name, tensor] = plain.state.networks.tensors[i];
    largest = std::max(largest, (tensor - rounded.state.networks.tensors[i].second).abs().max().item<double>());
  }
  EXPECT_GT(largest, 0.0);
  EXPECT_LE(largest, 5 * 2 * options.denoise.training.learning_rate);  // Adam moves a weight by about the rate
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
    const StageContext context{options.training,      options.distributed,       communicator, console, validation,
                               ct::window_of("leda"), {at::kDouble, at::kCPU, 7}};
    const std::unique_ptr<Stage> stage = make_stage(Kind::denoise, options, context);
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
      for (const auto& [name, value] : stage->train_step(batch, (step + 1) % options.logging.every_num_steps == 0))
        sums.push_back(value.item<double>());
      pieces.reports.push_back(sums);
      for (logging::Scalar& figure : stage->interval_figures()) pieces.figures.push_back(std::move(figure));
    }
    pieces.state = stage->state();
  });
  expect_equal(whole, pieces, 1e-9);
}

}  // namespace
}  // namespace leda::training
