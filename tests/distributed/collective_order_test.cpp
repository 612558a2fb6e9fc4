// Two networks that take turns and a statistic over ranks inside their graphs: every rank makes the same calls on every
// channel, in one order over all channels, whatever the ranks' shares are. What NCCL needs, which would hang otherwise.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/tanh.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <string>
#include <vector>

#include "distributed/core/batch_partition.hpp"
#include "distributed/core/differentiable_sum.hpp"
#include "distributed/gradients/gradient_synchronizer.hpp"
#include "tests/distributed/communicator_backends.hpp"
#include "tests/support/recording_communicator.hpp"

namespace leda::distributed {
namespace {

constexpr int kWidth = 6;

at::Tensor wave(at::IntArrayRef shape, double phase) {
  return at::sin(at::arange(c10::multiply_integers(shape), at::kDouble) * 1.3 + phase).reshape(shape);
}

// Three layers; between them the mean over all ranks' samples is taken off, as a batch normalisation does.
struct CoupledNetwork {
  explicit CoupledNetwork(double phase) {
    for (int i = 0; i < 3; ++i) {
      parameters.push_back({fmt::format("layer {}", i), wave({kWidth, kWidth}, phase + i).set_requires_grad(true)});
    }
  }
  void set_trained(bool trained) {
    for (NamedParameter& parameter : parameters) parameter.tensor.set_requires_grad(trained);
  }
  at::Tensor operator()(at::Tensor features, std::int64_t num_samples, Communicator& communicator) const {
    for (const NamedParameter& parameter : parameters) {
      features = at::tanh(at::linear(features, parameter.tensor));
      features = features - sum_over_ranks(features.sum(0), communicator) / static_cast<double>(num_samples);
    }
    return features;
  }

  std::vector<NamedParameter> parameters;
  BucketPlan plan{{{2}, {1}, {0}}};
};

// A generator's and a discriminator's update, three times. The shares are uneven; with more ranks than samples some are
// empty. Returns the discriminator's gradients of the last step.
std::vector<at::Tensor> play(Communicator& communicator, std::int64_t num_samples, const SynchronizerOptions& options) {
  CoupledNetwork generator(0.1);
  CoupledNetwork critic(0.7);
  GradientSynchronizer first(generator.parameters, generator.plan, communicator, options);
  GradientSynchronizer second(critic.parameters, critic.plan, communicator, options);
  const BatchPartition partition = partition_of_rank(num_samples, communicator.rank(), communicator.size());
  const at::Tensor samples = wave({num_samples, kWidth}, 0.4).slice(0, partition.first, partition.last);
  const auto update = [&](GradientSynchronizer& synchronizer, std::int64_t step, const at::Tensor& loss) {
    synchronizer.begin_step(step, 1, num_samples);
    synchronizer.begin_micro_batch(true);
    torch::autograd::backward({loss}, {});
    synchronizer.finish();
  };
  for (int step = 0; step < 3; ++step) {
    critic.set_trained(false);
    const at::Tensor made = generator(samples, num_samples, communicator);
    update(first, step, critic(made, num_samples, communicator).square().sum());
    critic.set_trained(true);
    update(second, step, critic(made.detach(), num_samples, communicator).pow(3).sum());
  }
  std::vector<at::Tensor> gradients;
  for (const NamedParameter& parameter : critic.parameters) gradients.push_back(parameter.tensor.grad().clone());
  return gradients;
}

class CollectiveOrder : public testing::TestWithParam<test::CommunicatorBackend> {};

INSTANTIATE_TEST_SUITE_P(Local, CollectiveOrder, testing::ValuesIn(test::local_backends()));
INSTANTIATE_TEST_SUITE_P(Mpi, CollectiveOrder, testing::ValuesIn(test::mpi_backends()));

TEST_P(CollectiveOrder, IsTheSameOnEveryRankOverAllChannels) {
  GetParam().run([](Communicator& communicator) {
    for (const SynchronizerOptions& options :
         {SynchronizerOptions{}, SynchronizerOptions{.gradient_compression = GradientCompression::bfloat16},
          SynchronizerOptions{.overlap = false}, SynchronizerOptions{.non_finite_check = NonFiniteCheck::on_device}}) {
      for (const std::int64_t num_samples : {7, 2}) {
        std::vector<std::string> record;
        test::RecordingCommunicator recording(communicator, record);
        play(recording, num_samples, options);
        const auto records = all_gather_texts(communicator, fmt::format("{}", fmt::join(record, "\n")));
        for (const std::string& other : records) EXPECT_EQ(other, records.front());
        EXPECT_GT(record.size(), 3u * 2u * 3u);
      }
    }
  });
}

// The statistics' sums of a backward pass run between the buckets of the same pass, and each network has a channel.
TEST_P(CollectiveOrder, StatisticsRunBetweenBuckets) {
  GetParam().run([](Communicator& communicator) {
    if (communicator.size() == 1) return;  // no sums in the graph
    std::vector<std::string> record;
    test::RecordingCommunicator recording(communicator, record);
    play(recording, 7, {});
    const auto is_bucket = [](const std::string& call, int network) {
      return call == fmt::format("all_reduce on 0.{}: Double [{}]", network, 40);
    };
    const auto is_statistic = [](const std::string& call) { return call.starts_with("all_reduce on 0: "); };
    for (const int network : {1, 2}) {
      const auto first =
          std::find_if(record.begin(), record.end(), [&](const auto& call) { return is_bucket(call, network); });
      const auto next =
          std::find_if(first + 1, record.end(), [&](const auto& call) { return is_bucket(call, network); });
      ASSERT_NE(next, record.end());
      EXPECT_TRUE(std::any_of(first, next, is_statistic)) << fmt::format("{}", fmt::join(record, "\n"));
      EXPECT_FALSE(std::any_of(first, next, [&](const auto& call) { return is_bucket(call, 3 - network); }));
    }
  });
}

TEST_P(CollectiveOrder, NetworksThatTakeTurnsDoNotMixTheirGradients) {
  std::vector<at::Tensor> truth;
  for (const test::CommunicatorBackend& backend : test::local_backends()) {
    backend.run([&](Communicator& communicator) {
      if (communicator.size() == 1) truth = play(communicator, 7, {});
    });
  }
  ASSERT_EQ(truth.size(), 3u);
  GetParam().run([&](Communicator& communicator) {
    const auto gradients = play(communicator, 7, {});
    for (std::size_t i = 0; i < truth.size(); ++i) EXPECT_TRUE(gradients[i].allclose(truth[i], 1e-10, 1e-12));
  });
}

}  // namespace
}  // namespace leda::distributed
