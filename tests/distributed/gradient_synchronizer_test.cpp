#include "distributed/gradients/gradient_synchronizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tanh.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "distributed/core/differentiable_sum.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "tests/distributed/communicator_backends.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

constexpr std::int64_t kNumSamples = 7;

at::Tensor wave(at::IntArrayRef shape, double phase) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 1.3 + phase).reshape(shape);
}

// Two layers in float64, the same on every rank that makes one.
struct SmallNetwork {
  std::vector<NamedParameter> parameters{{"first.weight", wave({5, 3}, 0.1).set_requires_grad(true)},
                                         {"first.bias", wave({5}, 0.2).set_requires_grad(true)},
                                         {"second.weight", wave({2, 5}, 0.3).set_requires_grad(true)}};

  const at::Tensor& tensor(int index) const { return parameters[static_cast<std::size_t>(index)].tensor; }

  // Samples first .. last of a fixed data set. [n]
  at::Tensor losses(std::int64_t first, std::int64_t last) const {
    const at::Tensor samples = wave({kNumSamples, 3}, 0.4).slice(0, first, last);
    const at::Tensor hidden = at::tanh(at::linear(samples, tensor(0), tensor(1)));
    return at::linear(hidden, tensor(2)).square().sum(1);
  }
};

void backward(const at::Tensor& loss) { torch::autograd::backward({loss}, {}); }

// What one process without any synchroniser computes from all samples.
std::vector<at::Tensor> true_gradients() {
  const SmallNetwork network;
  backward(network.losses(0, kNumSamples).sum() / kNumSamples);
  std::vector<at::Tensor> gradients;
  for (const NamedParameter& parameter : network.parameters) gradients.push_back(parameter.tensor.grad());
  return gradients;
}

void expect_true_gradients(const SmallNetwork& network) {
  const auto truth = true_gradients();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(network.tensor(i).grad().allclose(truth[static_cast<std::size_t>(i)], 1e-12, 1e-12))
        << network.parameters[static_cast<std::size_t>(i)].name;
  }
}

// The samples of a rank: uneven shares, and none at all for the last of many.
std::int64_t share_begin(int rank, int size) {
  return std::min<std::int64_t>(kNumSamples, rank * (kNumSamples / size + 2));
}

void train_step(const SmallNetwork& network, GradientSynchronizer& synchronizer, const Communicator& communicator,
                int num_micro_batches = 1) {
  const std::int64_t first = share_begin(communicator.rank(), communicator.size());
  const std::int64_t last = share_begin(communicator.rank() + 1, communicator.size());
  synchronizer.begin_step(0, num_micro_batches);
  for (int i = 0; i < num_micro_batches; ++i) {
    synchronizer.begin_micro_batch(i + 1 == num_micro_batches);
    const std::int64_t begin = first + (last - first) * i / num_micro_batches;
    const std::int64_t end = first + (last - first) * (i + 1) / num_micro_batches;
    backward(network.losses(begin, end).sum() / kNumSamples);
  }
  synchronizer.finish();
}

const BucketPlan kOneBucket{{{2, 1, 0}}};
const BucketPlan kOneEach{{{2}, {1}, {0}}};

class GradientSynchronizerTest : public testing::TestWithParam<test::CommunicatorBackend> {
 protected:
  static void run(const std::function<void(Communicator&)>& body) { GetParam().run(body); }
};

INSTANTIATE_TEST_SUITE_P(Local, GradientSynchronizerTest, testing::ValuesIn(test::local_backends()));
INSTANTIATE_TEST_SUITE_P(Mpi, GradientSynchronizerTest, testing::ValuesIn(test::mpi_backends()));

TEST_P(GradientSynchronizerTest, UnevenSharesGiveTheFullBatchGradient) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, plan_buckets(network.parameters, {}), communicator);
    for (int step = 0; step < 3; ++step) {
      train_step(network, synchronizer, communicator);
      expect_true_gradients(network);
    }
  });
}

TEST_P(GradientSynchronizerTest, AnyPlanGivesTheSameGradient) {
  run([](Communicator& communicator) {
    for (const BucketPlan& plan : {kOneBucket, kOneEach, BucketPlan{{{0}, {1}, {2}}}, BucketPlan{{{1}, {0, 2}}}}) {
      const SmallNetwork network;
      GradientSynchronizer synchronizer(network.parameters, plan, communicator);
      train_step(network, synchronizer, communicator);
      expect_true_gradients(network);
    }
  });
}

TEST_P(GradientSynchronizerTest, MicroBatchesAccumulate) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator);
    train_step(network, synchronizer, communicator, 3);
    expect_true_gradients(network);
  });
}

TEST_P(GradientSynchronizerTest, ARankMaySitAStepOut) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator);
    const bool works = communicator.rank() == communicator.size() - 1;
    synchronizer.begin_step(0, works ? 1 : 0);
    if (works) {
      synchronizer.begin_micro_batch(true);
      backward(network.losses(0, kNumSamples).sum() / kNumSamples);
    }
    synchronizer.finish();
    expect_true_gradients(network);
  });
}

TEST_P(GradientSynchronizerTest, NormIsThatOfAllGradients) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator);
    train_step(network, synchronizer, communicator);
    double sum = 0.0;
    for (const at::Tensor& gradient : true_gradients()) sum += gradient.square().sum().item<double>();
    EXPECT_NEAR(synchronizer.squared_norm().item<double>(), sum, 1e-12);
  });
}

TEST_P(GradientSynchronizerTest, SumsOverRanksInsideTheLossDoNotMixWithBuckets) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator);
    synchronizer.begin_step(0, 1);
    synchronizer.begin_micro_batch(true);
    const std::int64_t first = share_begin(communicator.rank(), communicator.size());
    const std::int64_t last = share_begin(communicator.rank() + 1, communicator.size());
    // Every rank adds 1/size of the square of the global loss.
    const at::Tensor total = sum_over_ranks(network.losses(first, last).sum(), communicator);
    backward(total.square() / communicator.size());
    synchronizer.finish();

    const SmallNetwork reference;
    backward(reference.losses(0, kNumSamples).sum().square());
    for (int i = 0; i < 3; ++i) {
      EXPECT_TRUE(network.tensor(i).grad().allclose(reference.tensor(i).grad(), 1e-11, 1e-11));
    }
  });
}

void step_with(GradientSynchronizer& synchronizer, const at::Tensor& loss, std::int64_t step) {
  synchronizer.begin_step(step, 1);
  synchronizer.begin_micro_batch(true);
  backward(loss);
  synchronizer.finish();
}

TEST_P(GradientSynchronizerTest, AMissingGradientIsNamedOnAllRanks) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator);
    const int last = communicator.size() - 1;
    at::Tensor loss = network.losses(0, kNumSamples).sum();
    if (communicator.rank() == last) loss = network.tensor(0).sum() + network.tensor(2).sum();
    const base::Error error = test::refusal_of(base::ExitCode::internal, [&] { step_with(synchronizer, loss, 41); });
    EXPECT_EQ(error.text().value, "rank " + std::to_string(last) + ", parameter first.bias, step 41");
    train_step(network, synchronizer, communicator);  // nothing is left behind
    expect_true_gradients(network);
  });
}

TEST_P(GradientSynchronizerTest, ANonFiniteGradientIsNamedOnAllRanks) {
  run([](Communicator& communicator) {
    for (const double poison : {std::nan(""), std::numeric_limits<double>::infinity()}) {
      const SmallNetwork network;
      GradientSynchronizer synchronizer(network.parameters, kOneBucket, communicator);
      const int last = communicator.size() - 1;
      at::Tensor loss = network.losses(0, kNumSamples).sum();
      if (communicator.rank() == last) loss = loss + network.tensor(1)[3] * poison;
      step_with(synchronizer, loss, 41);
      ASSERT_TRUE(synchronizer.non_finite());
      EXPECT_EQ(synchronizer.non_finite()->text(), "rank " + std::to_string(last) + ", parameter first.bias, step 41");
      train_step(network, synchronizer, communicator);
      EXPECT_FALSE(synchronizer.non_finite());
      expect_true_gradients(network);
    }
  });
}

// Looked for on the device, it is named when somebody asks: the earliest step, and in it the lowest rank.
TEST_P(GradientSynchronizerTest, ANonFiniteGradientNotedOnTheDeviceIsNamedWhenAskedFor) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator,
                                      {.non_finite_check = NonFiniteCheck::on_device});
    const int last = communicator.size() - 1;
    step_with(synchronizer, network.losses(0, kNumSamples).sum(), 1);
    EXPECT_FALSE(synchronizer.take_non_finite());
    at::Tensor loss = network.losses(0, kNumSamples).sum();
    if (communicator.rank() == last) loss = loss + network.tensor(1)[3] * std::nan("");
    step_with(synchronizer, loss, 2);
    EXPECT_FALSE(std::isfinite(synchronizer.squared_norm().item<double>()));
    step_with(synchronizer, (network.tensor(0).sum() + network.tensor(1).sum() + network.tensor(2).sum()) * INFINITY,
              3);
    const std::optional<NonFiniteGradient> first = synchronizer.take_non_finite();
    ASSERT_TRUE(first);
    EXPECT_EQ(first->text(), "rank " + std::to_string(last) + ", parameter first.bias, step 2");
    EXPECT_FALSE(synchronizer.take_non_finite());
    train_step(network, synchronizer, communicator);
    EXPECT_FALSE(synchronizer.take_non_finite());
    expect_true_gradients(network);
  });
}

TEST_P(GradientSynchronizerTest, RanksThatAreNotFiniteTogetherAreCounted) {
  run([](Communicator& communicator) {
    for (const distributed::NonFiniteCheck check : {NonFiniteCheck::before_sum, NonFiniteCheck::on_device}) {
      const SmallNetwork network;
      GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator, {.non_finite_check = check});
      step_with(synchronizer, network.losses(0, kNumSamples).sum() * std::nan(""), 5);
      const auto found = synchronizer.checks_before_sum() ? synchronizer.non_finite() : synchronizer.take_non_finite();
      ASSERT_TRUE(found);
      const int others = communicator.size() - 1;
      EXPECT_EQ(found->num_others, others);
      EXPECT_EQ(found->text().find("rank 0 and"), others == 0 ? std::string::npos : 0) << found->text();
    }
  });
}

// The hosts do not wait for each other within the step: the name comes with the next one, or when asked for.
TEST_P(GradientSynchronizerTest, AMissingGradientIsNamedOneStepLaterWhereTheCheckIsOnTheDevice) {
  run([](Communicator& communicator) {
    const SmallNetwork network;
    GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator,
                                      {.non_finite_check = NonFiniteCheck::on_device});
    const int last = communicator.size() - 1;
    for (const bool asks : {true, false}) {
      at::Tensor loss = network.losses(0, kNumSamples).sum();
      if (communicator.rank() == last) loss = network.tensor(0).sum() + network.tensor(2).sum();
      EXPECT_NO_THROW(step_with(synchronizer, loss, 41));
      const base::Error error = test::refusal_of(base::ExitCode::internal, [&] {
        if (asks) synchronizer.take_non_finite();
        if (!asks) train_step(network, synchronizer, communicator);
      });
      EXPECT_EQ(error.text().value, "rank " + std::to_string(last) + ", parameter first.bias, step 41");
    }
  });
}

TEST_P(GradientSynchronizerTest, RanksWithDifferentNetworksAreRefused) {
  run([](Communicator& communicator) {
    if (communicator.size() == 1) return;
    SmallNetwork network;
    if (communicator.rank() == 1) network.parameters[0].name = "another.weight";
    test::refusal_of(base::ExitCode::communication,
                     [&] { GradientSynchronizer synchronizer(network.parameters, kOneBucket, communicator); });
  });
}

TEST(GradientSynchronizer, APlanOfAnotherNetworkIsRefused) {
  const SmallNetwork network;
  SingleProcessCommunicator communicator;
  for (const BucketPlan& plan : {BucketPlan{{{2, 1}}}, BucketPlan{{{2, 1, 0}, {3}}}, BucketPlan{{{2, 1, 0, 0}}},
                                 BucketPlan{{{2, 1, 0}, {}}}, BucketPlan{{{2, 1, -1}}}}) {
    SCOPED_TRACE(plan.text());
    test::refusal_of(base::ExitCode::data,
                     [&] { const GradientSynchronizer synchronizer(network.parameters, plan, communicator); });
  }
}

// Notes the size of each reduction that is started.
class ListeningCommunicator : public SingleProcessCommunicator {
 public:
  explicit ListeningCommunicator(std::vector<std::int64_t>& sizes) : sizes_(sizes) {}

  std::unique_ptr<PendingCollective> start_all_reduce(at::Tensor tensor) override {
    sizes_.push_back(tensor.numel());
    return SingleProcessCommunicator::start_all_reduce(std::move(tensor));
  }
  std::unique_ptr<Communicator> duplicate() override { return std::make_unique<ListeningCommunicator>(sizes_); }

 private:
  std::vector<std::int64_t>& sizes_;
};

TEST(GradientSynchronizer, BucketsLeaveDuringTheLastBackwardInPlannedOrder) {
  std::vector<NamedParameter> parameters;
  for (const std::int64_t size : {8, 16, 24}) {
    parameters.push_back({"p", at::ones({size}, at::kDouble).set_requires_grad(true)});
  }
  std::vector<std::int64_t> sizes;
  ListeningCommunicator communicator(sizes);
  // Backward meets the last used first; the plan wants p0 (8), p1 (16), p2 (24) in either case.
  for (const bool is_reversed : {false, true}) {
    GradientSynchronizer synchronizer(parameters, BucketPlan{{{0}, {1}, {2}}}, communicator);
    const auto loss = [&] {
      at::Tensor sum = at::zeros({}, at::kDouble);
      for (int i = 0; i < 3; ++i) sum = (sum + 1.0) * parameters[is_reversed ? 2 - i : i].tensor.sum();
      return sum;
    };
    sizes.clear();
    synchronizer.begin_step(0, 2);
    synchronizer.begin_micro_batch(false);
    backward(loss());
    EXPECT_TRUE(sizes.empty());
    synchronizer.begin_micro_batch(true);
    backward(loss());
    EXPECT_EQ(sizes, (std::vector<std::int64_t>{8, 16, 24}));
    synchronizer.finish();
  }
}

TEST(GradientSynchronizer, GradientsStayInTheirBucketsWithTheParametersStrides) {
  SingleProcessCommunicator communicator;
  const at::Tensor weight = wave({4, 3, 3, 3}, 0.0).contiguous(at::MemoryFormat::ChannelsLast).set_requires_grad(true);
  const at::Tensor bias = wave({4}, 0.1).set_requires_grad(true);
  GradientSynchronizer synchronizer({{"weight", weight}, {"bias", bias}}, BucketPlan{{{1, 0}}}, communicator);
  const at::Tensor image = wave({2, 3, 6, 6}, 0.2).contiguous(at::MemoryFormat::ChannelsLast);
  const auto loss = [&] { return at::conv2d(image, weight, bias).pow(2).sum(); };
  const auto truth = torch::autograd::grad({loss()}, {weight, bias});
  const auto step = [&] {
    synchronizer.begin_step(0, 1);
    synchronizer.begin_micro_batch(true);
    backward(loss());
    synchronizer.finish();
    EXPECT_TRUE(weight.grad().allclose(truth[0], 1e-12, 1e-12));
    EXPECT_TRUE(bias.grad().allclose(truth[1], 1e-12, 1e-12));
    EXPECT_EQ(weight.grad().strides(), weight.strides());
    const at::Tensor& flat = synchronizer.flat_gradients().at(0);
    EXPECT_TRUE(weight.grad().is_alias_of(flat));
    EXPECT_EQ(bias.grad().data_ptr(), flat.data_ptr());
  };
  step();
  {
    const c10::NoGradGuard no_gradients;
    weight.grad().detach_().zero_();  // what an optimiser's zero_grad does, and what it refuses on views
  }
  step();
  weight.mutable_grad() = at::Tensor();  // zero_grad(set_to_none)
  step();
}

TEST(GradientSynchronizer, LargeFiniteGradientsAreNotTakenForInfinities) {
  SingleProcessCommunicator communicator;
  const at::Tensor weight = at::ones({16}, at::kFloat).set_requires_grad(true);
  {
    GradientSynchronizer synchronizer({{"weight", weight}}, BucketPlan{{{0}}}, communicator);
    step_with(synchronizer, (weight * 3e38f).sum(), 0);
    EXPECT_FALSE(synchronizer.non_finite());
  }
  GradientSynchronizer synchronizer({{"weight", weight}}, BucketPlan{{{0}}}, communicator,
                                    {.non_finite_check = NonFiniteCheck::on_device});
  step_with(synchronizer, (weight * 3e38f).sum(), 0);
  EXPECT_FALSE(synchronizer.take_non_finite());
}

TEST(GradientSynchronizer, TwoNetworksTakeTurns) {
  SingleProcessCommunicator communicator;
  const SmallNetwork generator;
  const SmallNetwork critic;
  GradientSynchronizer first(generator.parameters, kOneEach, communicator);
  GradientSynchronizer second(critic.parameters, kOneEach, communicator);
  const auto freeze = [](const SmallNetwork& network, bool is_frozen) {
    for (const NamedParameter& parameter : network.parameters) parameter.tensor.set_requires_grad(!is_frozen);
  };
  for (int step = 0; step < 2; ++step) {
    freeze(critic, true);
    first.begin_step(step, 1);
    first.begin_micro_batch(true);
    backward((generator.losses(0, kNumSamples) * critic.losses(0, kNumSamples)).sum());
    first.finish();
    EXPECT_GT(first.squared_norm().item<double>(), 0.0);
    freeze(critic, false);
    freeze(generator, true);
    train_step(critic, second, communicator);
    expect_true_gradients(critic);
    freeze(generator, false);
  }
}

TEST(GradientSynchronizer, ItsHooksEndWithIt) {
  SingleProcessCommunicator communicator;
  std::vector<std::int64_t> sizes;
  ListeningCommunicator listener(sizes);
  const SmallNetwork network;
  { const GradientSynchronizer synchronizer(network.parameters, kOneEach, listener); }
  backward(network.losses(0, kNumSamples).sum() / kNumSamples);
  EXPECT_TRUE(sizes.empty());
  expect_true_gradients(network);
}

TEST(GradientSynchronizer, MistakesInTheOrderOfCallsAreCaught) {
  SingleProcessCommunicator communicator;
  const SmallNetwork network;
  GradientSynchronizer synchronizer(network.parameters, kOneEach, communicator);
  EXPECT_THROW(synchronizer.begin_micro_batch(true), std::logic_error);
  synchronizer.begin_step(0, 2);
  EXPECT_THROW(synchronizer.finish(), std::logic_error);
  EXPECT_THROW(synchronizer.begin_micro_batch(true), std::logic_error);
  synchronizer.begin_step(0, 1);
  synchronizer.begin_micro_batch(true);
  backward(network.losses(0, 1).sum());
  EXPECT_THROW(backward(network.losses(1, 2).sum()), std::logic_error);
  train_step(network, synchronizer, communicator);
  expect_true_gradients(network);
}

}  // namespace
}  // namespace leda::distributed
