#include "models/patch_discriminator.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/choice.hpp"
#include "base/error.hpp"
#include "distributed/core/differentiable_sum.hpp"
#include "tests/support/finite_differences.hpp"
#include "tests/support/thread_ranks.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

const SumOverRanks kAlone = [](const at::Tensor& tensor) { return tensor; };

TEST(PatchDiscriminator, PublishedSizesNamesAndStart) {
  PatchDiscriminator discriminator({}, {.dtype = at::kDouble, .seed = 2});
  std::int64_t num_values = 0;
  std::set<std::string> names;
  for (const NamedTensor& entry : discriminator.tensors().parameters) {
    num_values += entry.tensor.numel();
    names.insert(entry.name);
    if (entry.name == "main.5.weight") {
      EXPECT_NEAR(entry.tensor.std().item<double>(), 0.02, 1e-4);
      EXPECT_NEAR(entry.tensor.mean().item<double>(), 0.0, 1e-4);
    }
    if (entry.name == "main.9.weight") {
      EXPECT_NEAR(entry.tensor.mean().item<double>(), 1.0, 0.005);
    }
  }
  for (const NamedTensor& entry : discriminator.tensors().buffers) names.insert(entry.name);
  EXPECT_EQ(num_values, 2763585);
  EXPECT_EQ(names, (std::set<std::string>{"main.0.weight",      "main.0.bias",
                                          "main.2.weight",      "main.3.weight",
                                          "main.3.bias",        "main.3.running_mean",
                                          "main.3.running_var", "main.3.num_batches_tracked",
                                          "main.5.weight",      "main.6.weight",
                                          "main.6.bias",        "main.6.running_mean",
                                          "main.6.running_var", "main.6.num_batches_tracked",
                                          "main.8.weight",      "main.9.weight",
                                          "main.9.bias",        "main.9.running_mean",
                                          "main.9.running_var", "main.9.num_batches_tracked",
                                          "main.11.weight",     "main.11.bias"}));
}

TEST(PatchDiscriminator, OneLogitPerPatch) {
  const PatchDiscriminator discriminator({.channels = 2}, {});
  for (const auto& [image, patches] : {std::pair{512, 62}, {256, 30}, {128, 14}, {64, 6}}) {
    const at::Tensor images = at::zeros({1, 1, image, image}, at::TensorOptions(at::kFloat));
    EXPECT_EQ(discriminator.logits(images, false, kAlone).sizes(), (at::IntArrayRef{1, 1, patches, patches}));
  }
}

TEST(PatchDiscriminator, GradientsEqualFiniteDifferences) {
  for (const DiscriminatorNorm norm : {DiscriminatorNorm::batch, DiscriminatorNorm::group}) {
    const PatchDiscriminator discriminator({.channels = 2, .norm = norm}, {.dtype = at::kDouble, .seed = 2});
    const at::Tensor weights = normal_tensor({2, 1, 2, 2}, 3);
    const auto weighted = [&](const at::Tensor& images) {
      return (discriminator.logits(images, true, kAlone) * weights).sum();
    };
    EXPECT_LT(gradient_error(weighted, normal_tensor({2, 1, 32, 32}, 4), 40, 1e-6), 1e-5) << base::name_of(norm);
  }
}

// Ranks with 3, 0 and 1 of four images against one rank with all.
TEST(PatchDiscriminator, RanksTogetherEqualOneBatch) {
  const DiscriminatorOptions options{.channels = 2};
  const TensorSettings settings{.dtype = at::kDouble, .seed = 2};
  const at::Tensor images = normal_tensor({4, 1, 32, 32}, 5), weights = normal_tensor({4, 1, 2, 2}, 6);
  PatchDiscriminator whole(options, settings);
  const at::Tensor logits = whole.logits(images, true, kAlone);
  torch::autograd::backward({(logits * weights).sum()}, {});

  const std::vector<std::int64_t> first{0, 3, 3}, count{3, 0, 1};
  std::vector<at::Tensor> outputs(3);
  std::vector<std::unique_ptr<PatchDiscriminator>> discriminators(3);
  test::run_ranks(3, [&](distributed::Communicator& communicator) {
    const int rank = communicator.rank();
    const SumOverRanks sum = [&](const at::Tensor& tensor) {
      return distributed::sum_over_ranks(tensor, communicator);
    };
    discriminators[rank] = std::make_unique<PatchDiscriminator>(options, settings);
    outputs[rank] = discriminators[rank]->logits(images.narrow(0, first[rank], count[rank]), true, sum);
    torch::autograd::backward({(outputs[rank] * weights.narrow(0, first[rank], count[rank])).sum()}, {});
  });
  EXPECT_LT(largest(at::cat(outputs) - logits), 1e-12);
  const auto& expected = whole.tensors();
  for (std::size_t i = 0; i < expected.parameters.size(); ++i) {
    at::Tensor sum = at::zeros_like(expected.parameters[i].tensor);
    for (const auto& own : discriminators) sum = sum + own->tensors().parameters[i].tensor.grad();
    const at::Tensor gradient = expected.parameters[i].tensor.grad();
    EXPECT_LT(largest(sum - gradient), 1e-10 * (1 + largest(gradient))) << expected.parameters[i].name;
  }
  for (std::size_t i = 0; i < expected.buffers.size(); ++i) {
    for (const auto& own : discriminators) {
      EXPECT_LT(largest(own->tensors().buffers[i].tensor - expected.buffers[i].tensor), 1e-12);
    }
  }
}

TEST(PatchDiscriminator, GroupNormNeedsNoOtherRank) {
  const PatchDiscriminator discriminator({.channels = 2, .norm = DiscriminatorNorm::group}, {});
  EXPECT_TRUE(discriminator.logits(at::zeros({0, 1, 32, 32}, at::TensorOptions(at::kFloat)), true, {}).numel() == 0);
}

TEST(PatchDiscriminator, RefusesANetworkWithoutLayers) {
  EXPECT_THROW(PatchDiscriminator({.layers = 0}, {}), base::Error);
}

}  // namespace
}  // namespace leda::models
