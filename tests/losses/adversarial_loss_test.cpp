#include "losses/adversarial_loss.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <cmath>

#include "tests/support/thread_ranks.hpp"

namespace leda::losses {
namespace {

at::Tensor one_rank(const at::Tensor& value) { return value; }

TEST(HingeLoss, PunishesLogitsInsideTheMargin) {
  const at::Tensor real = at::tensor({2.0, 1.0, 0.0, -1.0}, at::kDouble).reshape({1, 1, 2, 2});
  const at::Tensor reconstructed = at::tensor({-3.0, -1.0, 0.5, 1.0}, at::kDouble).reshape({1, 1, 2, 2});
  // (0 + 0 + 1 + 2) / 4 and (0 + 0 + 1.5 + 2) / 4.
  EXPECT_DOUBLE_EQ(discriminator_hinge_loss(real, reconstructed)[0].item<double>(), 0.5 * (0.75 + 0.875));
  EXPECT_DOUBLE_EQ(generator_loss(reconstructed)[0].item<double>(), 2.5 / 4.0);
}

TEST(HingeLoss, IsPerImage) {
  const at::Tensor logits = at::tensor({0.0, 0.0, 4.0, -2.0}, at::kDouble).reshape({2, 1, 1, 2});
  const at::Tensor loss = discriminator_hinge_loss(logits, logits);
  EXPECT_DOUBLE_EQ(loss[0].item<double>(), 1.0);
  EXPECT_DOUBLE_EQ(loss[1].item<double>(), 0.5 * (1.5 + 2.5));
  EXPECT_DOUBLE_EQ(generator_loss(logits)[1].item<double>(), -1.0);
  EXPECT_EQ(discriminator_hinge_loss(at::empty({0, 1, 2, 2}), at::empty({0, 1, 2, 2})).size(0), 0);
  EXPECT_EQ(generator_loss(at::empty({0, 1, 2, 2})).size(0), 0);
}

TEST(AdaptiveWeight, IsTheRatioOfTheGradientNorms) {
  const at::Tensor weight = at::arange(1, 5, at::kDouble).set_requires_grad(true);
  // Gradients (2, 4, 6, 8) and (0.5, 0.5, 0.5, 0.5), norms sqrt(120) and 1.
  const at::Tensor result = adaptive_weight(weight.square().sum(), 0.5 * weight.sum(), weight, one_rank, 0.8);
  EXPECT_NEAR(result.item<double>(), 0.8 * std::sqrt(120.0) / (1.0 + 1e-4), 1e-12);
  EXPECT_FALSE(result.requires_grad());
}

TEST(AdaptiveWeight, KeepsTheGraphs) {
  const at::Tensor weight = at::ones({3}, at::kDouble).set_requires_grad(true);
  const at::Tensor nll = weight.square().sum();
  const at::Tensor generator = weight.exp().sum();
  adaptive_weight(nll, generator, weight, one_rank, 1.0);
  EXPECT_NEAR(torch::autograd::grad({nll + generator}, {weight})[0][0].item<double>(), 2.0 + std::exp(1.0), 1e-12);
}

TEST(AdaptiveWeight, IsClampedWhereTheGeneratorHasNoGradient) {
  const at::Tensor weight = at::ones({3}, at::kDouble).set_requires_grad(true);
  const at::Tensor other = at::ones({3}, at::kDouble).set_requires_grad(true);
  EXPECT_DOUBLE_EQ(adaptive_weight((weight * 100).sum(), other.sum(), weight, one_rank, 0.5).item<double>(), 5000.0);
}

// A total over images x_i: nll = mean |W x_i|^2, generator = -mean sum sin(W x_i).
struct Batch {
  at::Tensor images;  // B x 4
  std::int64_t num_all;

  at::Tensor nll(const at::Tensor& weight) const {
    return (images * weight).square().sum() / static_cast<double>(num_all);
  }
  at::Tensor generator(const at::Tensor& weight) const {
    return (images * weight).sin().sum().neg() / static_cast<double>(num_all);
  }
};

TEST(AdaptiveWeight, RanksTogetherGetWhatOneRankGets) {
  const at::Tensor images = at::arange(0, 12, at::kDouble).reshape({3, 4}).cos();
  const at::Tensor weight_values = at::arange(1, 5, at::kDouble) * 0.3;
  const auto weight_of = [&](const Batch& batch, const models::SumOverRanks& sum) {
    const at::Tensor weight = weight_values.clone().set_requires_grad(true);
    return adaptive_weight(batch.nll(weight), batch.generator(weight), weight, sum, 0.8).item<double>();
  };
  const double alone = weight_of({images, 3}, one_rank);
  // The third rank holds no image.
  const std::vector<at::Tensor> parts{images.slice(0, 0, 2), images.slice(0, 2, 3), images.slice(0, 3, 3)};
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    const models::SumOverRanks sum = [&](const at::Tensor& value) {
      at::Tensor total = value.clone();
      distributed::all_reduce(communicator, total);
      return total;
    };
    const double together = weight_of({parts[static_cast<std::size_t>(communicator.rank())], 3}, sum);
    EXPECT_NEAR(together, alone, 1e-12);
  });
}

TEST(AdaptiveWeight, RankWhoseTotalsHaveNoGraphStillTakesPart) {
  const at::Tensor weight = at::ones({2}, at::kDouble).set_requires_grad(true);
  int num_sums = 0;
  const models::SumOverRanks from_others = [&](const at::Tensor& own) {
    EXPECT_EQ(own.abs().sum().item<double>(), 0.0);
    return ++num_sums == 1 ? own + 3.0 : own + 1.0;
  };
  const at::Tensor nothing = at::zeros({}, at::kDouble);
  EXPECT_NEAR(adaptive_weight(nothing, nothing, weight, from_others, 1.0).item<double>(),
              3.0 * std::sqrt(2.0) / (std::sqrt(2.0) + 1e-4), 1e-12);
  EXPECT_EQ(num_sums, 2);
}

}  // namespace
}  // namespace leda::losses
