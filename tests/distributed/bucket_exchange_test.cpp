// What travels when a bucket leaves: rounded to bfloat16, summed in a fixed tree, or held back until backward has
// ended.
#include "distributed/gradients/bucket_exchange.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>
#include <mutex>
#include <string>
#include <vector>

#include "distributed/core/batch_partition.hpp"
#include "distributed/core/single_process_communicator.hpp"
#include "distributed/gradients/gradient_synchronizer.hpp"
#include "distributed/gradients/tree_sum.hpp"
#include "tests/distributed/communicator_backends.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::distributed {
namespace {

// Parameters whose gradients are known numbers: the loss is the product with them. Five buckets, so that several are
// under way at once; hardly a length divides by a number of ranks.
struct KnownGradients {
  explicit KnownGradients(at::ScalarType type) {
    for (std::size_t i = 0; i < lengths.size(); ++i) {
      parameters.push_back({"p" + std::to_string(i), at::zeros({lengths[i]}, type).set_requires_grad(true)});
    }
  }

  // Of one sample: signs and magnitudes vary, so that sums cancel.
  at::Tensor gradient(std::size_t parameter, std::int64_t sample) const {
    const auto n = static_cast<double>(parameter * 100 + static_cast<std::size_t>(sample));
    const at::Tensor phase = at::arange(lengths[parameter], at::kDouble) * 1.3 + 0.37 * n;
    const double scale = std::pow(10.0, static_cast<double>(sample * 3 % 7) - 3.0);
    return (at::sin(phase) * scale).to(parameters[parameter].tensor.scalar_type());
  }
  at::Tensor loss(std::int64_t sample) const {
    at::Tensor sum = at::zeros({}, parameters.front().tensor.options().requires_grad(false));
    for (std::size_t i = 0; i < lengths.size(); ++i) sum = sum + (parameters[i].tensor * gradient(i, sample)).sum();
    return sum;
  }
  std::vector<at::Tensor> gradients() const {
    std::vector<at::Tensor> copies;
    for (const NamedParameter& parameter : parameters) copies.push_back(parameter.tensor.grad().clone());
    return copies;
  }

  std::vector<std::int64_t> lengths{1, 7, 33, 1000, 129};
  std::vector<NamedParameter> parameters;
  BucketPlan plan{{{4}, {3}, {2}, {1}, {0}}};
};

// One step in which each rank has the samples of its share, one micro-batch each.
void step(const KnownGradients& network, GradientSynchronizer& synchronizer, const Communicator& communicator,
          std::int64_t num_samples) {
  const BatchPartition partition = partition_of_rank(num_samples, communicator.rank(), communicator.size());
  synchronizer.begin_step(0, static_cast<int>(partition.size()), num_samples);
  for (std::int64_t sample = partition.first; sample < partition.last; ++sample) {
    synchronizer.begin_micro_batch(sample + 1 == partition.last);
    torch::autograd::backward({network.loss(sample)}, {});
  }
  synchronizer.finish();
}

std::vector<at::Tensor> step_alone(at::ScalarType type, const SynchronizerOptions& options, std::int64_t num_samples) {
  SingleProcessCommunicator alone;
  const KnownGradients network(type);
  GradientSynchronizer synchronizer(network.parameters, network.plan, alone, options);
  step(network, synchronizer, alone, num_samples);
  return network.gradients();
}

void expect_same_bits(const std::vector<at::Tensor>& one, const std::vector<at::Tensor>& other) {
  for (std::size_t i = 0; i < one.size(); ++i) EXPECT_TRUE(one[i].equal(other[i])) << "parameter " << i;
}

void expect_same_bits_on_all_ranks(const KnownGradients& network, Communicator& communicator) {
  for (const at::Tensor& gradient : network.gradients()) {
    const at::Tensor all = all_gather(communicator, gradient);
    for (int rank = 1; rank < communicator.size(); ++rank) EXPECT_TRUE(all[rank].equal(all[0])) << "rank " << rank;
  }
}

// docs/methods/gradient_synchronisation.md: u = 2^-8 for bfloat16, v = 2^-24 for float32.
constexpr double kBfloat16Rounding = 1.0 / 256.0;
constexpr double kFloat32Rounding = 1.0 / 16777216.0;

// One sample a rank, so that the ranks' gradients are known to the bit.
void expect_within_bound(const KnownGradients& network, int num_ranks) {
  const double terms = kFloat32Rounding * (num_ranks - 1);
  const double u = kBfloat16Rounding;
  const double bound = (1.0 + u) * ((1.0 + u) * (1.0 + 2.0 * terms)) - 1.0;
  double largest_error = 0.0;
  for (std::size_t i = 0; i < network.lengths.size(); ++i) {
    at::Tensor sum = at::zeros({network.lengths[i]}, at::kDouble);
    at::Tensor magnitudes = at::zeros({network.lengths[i]}, at::kDouble);
    for (int rank = 0; rank < num_ranks; ++rank) {
      const at::Tensor gradient = network.gradient(i, rank).to(at::kDouble);
      sum += gradient;
      magnitudes += gradient.abs();
    }
    const at::Tensor error = (network.parameters[i].tensor.grad().to(at::kDouble) - sum).abs();
    EXPECT_TRUE(error.le(magnitudes * bound).all().item<bool>()) << "parameter " << i << ", " << num_ranks << " ranks";
    largest_error = std::max(largest_error, (error / magnitudes).max().item<double>());
  }
  EXPECT_GT(largest_error, 1e-4);  // it was rounded at all
}

void check_bfloat16(Communicator& communicator, at::ScalarType type) {
  const KnownGradients network(type);
  GradientSynchronizer synchronizer(network.parameters, network.plan, communicator,
                                    {.gradient_compression = GradientCompression::bfloat16});
  for (int repetition = 0; repetition < 2; ++repetition) {
    step(network, synchronizer, communicator, communicator.size());
    if (communicator.size() == 1) {
      expect_same_bits(network.gradients(), step_alone(type, {}, 1));  // nothing travels, nothing is rounded
      continue;
    }
    expect_within_bound(network, communicator.size());
    expect_same_bits_on_all_ranks(network, communicator);
  }
}

class BucketExchangeTest : public testing::TestWithParam<test::CommunicatorBackend> {
 protected:
  static void run(const std::function<void(Communicator&)>& body) { GetParam().run(body); }
};

INSTANTIATE_TEST_SUITE_P(Local, BucketExchangeTest, testing::ValuesIn(test::local_backends()));
INSTANTIATE_TEST_SUITE_P(Mpi, BucketExchangeTest, testing::ValuesIn(test::mpi_backends()));

TEST_P(BucketExchangeTest, Bfloat16OnTheWireStaysWithinItsBound) {
  run([](Communicator& communicator) {
    check_bfloat16(communicator, at::kFloat);
    check_bfloat16(communicator, at::kDouble);
  });
}

TEST(BucketExchange, Bfloat16OnTheWireStaysWithinItsBoundOnManyRanks) {
  for (const int num_ranks : {8, 13, 64}) {
    test::run_ranks(num_ranks, [](Communicator& communicator) { check_bfloat16(communicator, at::kFloat); });
  }
}

// 1 to 13 samples on the backend's ranks, some of them without any.
TEST_P(BucketExchangeTest, AReproducibleSumHasTheBitsOfOneRank) {
  run([](Communicator& communicator) {
    const SynchronizerOptions options{.reproducible = true};
    const KnownGradients network(at::kFloat);
    GradientSynchronizer synchronizer(network.parameters, network.plan, communicator, options);
    for (const std::int64_t num_samples : {1, 2, 5, 8, 13}) {
      step(network, synchronizer, communicator, num_samples);
      expect_same_bits(network.gradients(), step_alone(at::kFloat, options, num_samples));
    }
  });
}

TEST(BucketExchange, AReproducibleSumIsTheTreesOfTheSamples) {
  constexpr std::int64_t kNumSamples = 11;
  const KnownGradients network(at::kFloat);
  const auto sums = step_alone(at::kFloat, {.reproducible = true}, kNumSamples);
  for (std::size_t i = 0; i < sums.size(); ++i) {
    TreeSum tree;
    for (std::int64_t sample = 0; sample < kNumSamples; ++sample) tree.add({sample, 1}, network.gradient(i, sample));
    EXPECT_TRUE(sums[i].equal(tree.total()));
  }
}

// What the mode is for: without it the bits depend on the number of ranks.
TEST(BucketExchange, APlainSumHasOtherBitsOnOtherNumbersOfRanks) {
  const auto alone = step_alone(at::kFloat, {}, 13);
  bool differs = false;
  test::run_ranks(3, [&](Communicator& communicator) {
    const KnownGradients network(at::kFloat);
    GradientSynchronizer synchronizer(network.parameters, network.plan, communicator);
    step(network, synchronizer, communicator, 13);
    if (communicator.rank() > 0) return;
    for (std::size_t i = 0; i < alone.size(); ++i) differs = differs || !network.gradients()[i].equal(alone[i]);
  });
  EXPECT_TRUE(differs);
}

TEST(BucketExchange, AReproducibleSumNeedsAMicroBatchForEachSample) {
  SingleProcessCommunicator alone;
  const KnownGradients network(at::kFloat);
  GradientSynchronizer synchronizer(network.parameters, network.plan, alone, {.overlap = false, .reproducible = true});
  synchronizer.begin_step(0, 1, 2);
  synchronizer.begin_micro_batch(true);
  torch::autograd::backward({network.loss(0)}, {});
  EXPECT_THROW(synchronizer.finish(), std::logic_error);
}

// A NaN in any of a rank's samples is seen, not only one in the last.
TEST_P(BucketExchangeTest, AReproducibleSumLooksAtEverySample) {
  run([](Communicator& communicator) {
    const KnownGradients network(at::kFloat);
    for (const distributed::NonFiniteCheck check : {NonFiniteCheck::before_sum, NonFiniteCheck::on_device}) {
      GradientSynchronizer synchronizer(network.parameters, network.plan, communicator,
                                        {.non_finite_check = check, .reproducible = true});
      const std::int64_t num_samples = 2 * communicator.size();
      const bool is_last = communicator.rank() == communicator.size() - 1;
      synchronizer.begin_step(9, 2, num_samples);
      for (int i = 0; i < 2; ++i) {
        synchronizer.begin_micro_batch(i == 1);
        const at::Tensor factor = at::zeros({}, at::kFloat) + (is_last && i == 0 ? std::nan("") : 1.0);
        torch::autograd::backward({network.loss(i) + (network.parameters[2].tensor * factor).sum()}, {});
      }
      synchronizer.finish();
      const auto found = synchronizer.checks_before_sum() ? synchronizer.non_finite() : synchronizer.take_non_finite();
      ASSERT_TRUE(found);
      EXPECT_EQ(found->text(), "rank " + std::to_string(communicator.size() - 1) + ", parameter p2, step 9");
    }
  });
}

TEST_P(BucketExchangeTest, WithoutOverlapTheBitsAreTheSame) {
  run([](Communicator& communicator) {
    for (SynchronizerOptions options :
         {SynchronizerOptions{}, SynchronizerOptions{.gradient_compression = GradientCompression::bfloat16},
          SynchronizerOptions{.reproducible = true}}) {
      const auto gradients = [&](bool overlap) {
        options.overlap = overlap;
        const KnownGradients network(at::kFloat);
        GradientSynchronizer synchronizer(network.parameters, network.plan, communicator, options);
        step(network, synchronizer, communicator, 2 * communicator.size() + 1);
        return network.gradients();
      };
      expect_same_bits(gradients(true), gradients(false));
    }
  });
}

TEST_P(BucketExchangeTest, EveryBucketsSumIsAnnouncedInOrder) {
  run([](Communicator& communicator) {
    for (const SynchronizerOptions& options :
         {SynchronizerOptions{}, SynchronizerOptions{.gradient_compression = GradientCompression::bfloat16}}) {
      std::vector<int> announced;
      const std::unique_ptr<Communicator> channel = communicator.duplicate();
      const auto exchange =
          make_bucket_exchange(options, *channel, nullptr, [&](int bucket) { announced.push_back(bucket); });
      exchange->begin_step(1);
      std::vector<at::Tensor> buckets;
      for (int bucket = 0; bucket < 7; ++bucket) {
        buckets.push_back(at::full({5}, 1.0 + bucket, at::kFloat));
        exchange->start(bucket, buckets.back());
      }
      exchange->finish();
      EXPECT_EQ(announced, (std::vector<int>{0, 1, 2, 3, 4, 5, 6}));
      for (int bucket = 0; bucket < 7; ++bucket) {
        EXPECT_EQ(buckets[static_cast<std::size_t>(bucket)][4].item<float>(), (1.0f + bucket) * communicator.size());
      }
    }
  });
}

TEST(BucketExchange, ContradictoryOptionsAreMistakes) {
  SingleProcessCommunicator alone;
  const auto nobody = [](int) {};
  EXPECT_THROW(make_bucket_exchange({.gradient_compression = GradientCompression::bfloat16, .reproducible = true},
                                    alone, nullptr, nobody),
               std::logic_error);
}

}  // namespace
}  // namespace leda::distributed
