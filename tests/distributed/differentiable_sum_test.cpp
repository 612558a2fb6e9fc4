#include "distributed/core/differentiable_sum.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/sin.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>

#include "tests/distributed/communicator_backends.hpp"

namespace leda::distributed {
namespace {

class DifferentiableSum : public testing::TestWithParam<test::CommunicatorBackend> {};

INSTANTIATE_TEST_SUITE_P(Local, DifferentiableSum, testing::ValuesIn(test::local_backends()));
INSTANTIATE_TEST_SUITE_P(Mpi, DifferentiableSum, testing::ValuesIn(test::mpi_backends()));

constexpr int kNumValues = 4;

at::Tensor values_of(int rank) { return at::sin(at::arange(kNumValues, at::kDouble) + 0.7 * rank); }

// A loss that differs between ranks and is not linear in the sum.
at::Tensor loss_of(const at::Tensor& values, Communicator& communicator) {
  const at::Tensor sum = sum_over_ranks(values.square() * (communicator.rank() + 1), communicator);
  return (sum.pow(3) * (0.5 + communicator.rank())).sum() + values.pow(4).sum();
}

// All elements of all ranks' values in turn, by central differences of a function of this rank's values that is
// summed over ranks. Returns what belongs to this rank.
at::Tensor numerical_gradient(Communicator& communicator,
                              const std::function<at::Tensor(const at::Tensor&)>& function) {
  constexpr double kStep = 1e-5;
  const at::Tensor gradient = at::zeros({kNumValues}, at::kDouble);
  for (int rank = 0; rank < communicator.size(); ++rank) {
    for (int i = 0; i < kNumValues; ++i) {
      double difference = 0.0;
      for (const double sign : {1.0, -1.0}) {
        at::Tensor values = values_of(communicator.rank());
        if (rank == communicator.rank()) values[i] += sign * kStep;
        const at::Tensor total = function(values).detach().clone();
        all_reduce(communicator, total);
        difference += sign * total.item<double>();
      }
      if (rank == communicator.rank()) gradient[i] = difference / (2.0 * kStep);
    }
  }
  return gradient;
}

TEST_P(DifferentiableSum, GradientIsThatOfAllRanksLosses) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor values = values_of(communicator.rank()).set_requires_grad(true);
    const at::Tensor loss = loss_of(values, communicator);
    torch::autograd::backward({loss}, {});
    const at::Tensor truth =
        numerical_gradient(communicator, [&](const at::Tensor& at_values) { return loss_of(at_values, communicator); });
    EXPECT_TRUE(values.grad().allclose(truth, 1e-6, 1e-7)) << values.grad() << truth;
  });
}

TEST_P(DifferentiableSum, SecondDerivativesPassThrough) {
  GetParam().run([](Communicator& communicator) {
    const auto gradient_penalty = [&](const at::Tensor& values) {
      const at::Tensor loss = loss_of(values, communicator);
      return torch::autograd::grad({loss}, {values}, {}, true, true).at(0).square().sum();
    };
    const at::Tensor values = values_of(communicator.rank()).set_requires_grad(true);
    torch::autograd::backward({gradient_penalty(values)}, {});
    const at::Tensor truth = numerical_gradient(communicator, [&](const at::Tensor& at_values) {
      return gradient_penalty(at_values.detach().set_requires_grad(true));
    });
    EXPECT_TRUE(values.grad().allclose(truth, 1e-5, 1e-5)) << values.grad() << truth;
  });
}

TEST_P(DifferentiableSum, ValueIsTheSumAndTheInputStays) {
  GetParam().run([](Communicator& communicator) {
    const at::Tensor mine = values_of(communicator.rank()).reshape({2, 2}).t();
    const at::Tensor before = mine.clone();
    const at::Tensor sum = sum_over_ranks(mine, communicator);
    at::Tensor truth = at::zeros({2, 2}, at::kDouble);
    for (int rank = 0; rank < communicator.size(); ++rank) truth += values_of(rank).reshape({2, 2}).t();
    EXPECT_TRUE(sum.allclose(truth, 1e-14, 1e-14));
    EXPECT_TRUE(mine.equal(before));
    EXPECT_FALSE(sum.requires_grad());
  });
}

}  // namespace
}  // namespace leda::distributed
