#include "models/perceptual_network.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <gtest/gtest.h>

#include <cmath>

#include "base/error.hpp"
#include "tests/support/finite_differences.hpp"
#include "tests/support/refusal.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

// VGG16 of the published size with random numbers that keep the features' size; lin weights are never negative.
std::vector<NamedTensor> random_weights() {
  std::vector<NamedTensor> weights;
  for (const NamedShape& required : PerceptualNetwork::required_tensors()) {
    const std::uint64_t key = base::key_of(required.name);
    const bool is_lin = required.name.starts_with("lin");
    const double fan_in = required.shape.size() == 4 ? static_cast<double>(required.shape[1] * 9) : 1e4;
    const at::Tensor values = normal_tensor(required.shape, key, is_lin ? 1.0 : std::sqrt(2.0 / fan_in));
    weights.push_back({required.name, is_lin ? values.abs() : values});
  }
  return weights;
}

const PerceptualNetwork& network() {
  static const PerceptualNetwork made(random_weights(), {.dtype = at::kDouble});
  return made;
}

TEST(PerceptualNetwork, PublishedSizeWithoutTheScalingConstants) {
  std::int64_t num_values = 0;
  for (const NamedShape& required : PerceptualNetwork::required_tensors()) {
    std::int64_t size = 1;
    for (const std::int64_t side : required.shape) size *= side;
    num_values += size;
  }
  EXPECT_EQ(num_values, 14716160);
  PerceptualNetwork made(random_weights(), {});
  EXPECT_EQ(made.tensors().buffers.size(), 33u);
  EXPECT_TRUE(made.tensors().parameters.empty());
}

TEST(PerceptualNetwork, DistanceIsSymmetricAndZeroForEqualImages) {
  const at::Tensor first = normal_tensor({2, 1, 64, 64}, 1, 0.3), second = normal_tensor({2, 1, 64, 64}, 2, 0.3);
  const at::Tensor forth = network().distance(first, second), back = network().distance(second, first);
  EXPECT_EQ(forth.sizes(), (at::IntArrayRef{2}));
  EXPECT_GT(forth.min().item<double>(), 1e-3);
  EXPECT_LT(largest(forth - back), 1e-12);
  EXPECT_EQ(largest(network().distance(first, first)), 0.0);
}

TEST(PerceptualNetwork, ImagesOfABatchDoNotMeet) {
  const at::Tensor first = normal_tensor({2, 1, 32, 48}, 3, 0.3), second = normal_tensor({2, 1, 32, 48}, 4, 0.3);
  const at::Tensor both = network().distance(first, second);
  EXPECT_NEAR(network().distance(first.narrow(0, 1, 1), second.narrow(0, 1, 1))[0].item<double>(),
              both[1].item<double>(), 1e-12);
}

// A network whose first convolution copies each channel and whose other slices weigh nothing: the distance by hand.
TEST(PerceptualNetwork, DistanceOfATransparentNetworkEqualsPlainLoops) {
  std::vector<NamedTensor> weights;
  for (const NamedShape& required : PerceptualNetwork::required_tensors()) {
    weights.push_back({required.name, at::zeros(required.shape, at::TensorOptions(at::kDouble))});
    at::Tensor& tensor = weights.back().tensor;
    const bool is_first = required.name == "net.slice1.0.weight" || required.name == "net.slice1.2.weight";
    for (int c = 0; c < 3 && is_first; ++c) tensor[c][c][1][1].fill_(1);
    if (required.name == "lin0.model.1.weight") tensor.fill_(0.7);
  }
  const PerceptualNetwork transparent(weights, {.dtype = at::kDouble});
  const at::Tensor first = normal_tensor({1, 1, 16, 16}, 5), second = normal_tensor({1, 1, 16, 16}, 6);
  const double shift[3]{-0.030, -0.088, -0.188}, scale[3]{0.458, 0.448, 0.450};
  const auto x = first.accessor<double, 4>(), y = second.accessor<double, 4>();
  double sum = 0.0;
  for (int row = 0; row < 16; ++row) {
    for (int column = 0; column < 16; ++column) {
      double fx[3], fy[3], nx = 0.0, ny = 0.0;
      for (int c = 0; c < 3; ++c) {
        fx[c] = std::max(0.0, (x[0][0][row][column] - shift[c]) / scale[c]);
        fy[c] = std::max(0.0, (y[0][0][row][column] - shift[c]) / scale[c]);
        nx += fx[c] * fx[c];
        ny += fy[c] * fy[c];
      }
      for (int c = 0; c < 3; ++c) {
        const double difference = fx[c] / (std::sqrt(nx) + 1e-10) - fy[c] / (std::sqrt(ny) + 1e-10);
        sum += 0.7 * difference * difference;
      }
    }
  }
  EXPECT_NEAR(transparent.distance(first, second)[0].item<double>(), sum / 256, 1e-12);
}

TEST(PerceptualNetwork, GradientEqualsFiniteDifferences) {
  const at::Tensor target = normal_tensor({1, 1, 32, 32}, 7, 0.3);
  const auto distance = [&](const at::Tensor& image) { return network().distance(image, target).sum(); };
  EXPECT_LT(gradient_error(distance, normal_tensor({1, 1, 32, 32}, 8, 0.3), 6, 1e-6), 1e-4);
}

TEST(PerceptualNetwork, FeaturesThatAreAllZeroHaveAFiniteGradient) {
  std::vector<NamedTensor> weights = random_weights();
  for (NamedTensor& entry : weights) entry.tensor = at::zeros_like(entry.tensor);
  const PerceptualNetwork dead(weights, {.dtype = at::kDouble});
  const at::Tensor image = normal_tensor({1, 1, 32, 32}, 9).set_requires_grad(true);
  torch::autograd::backward({dead.distance(image, image.detach() + 1).sum()}, {});
  EXPECT_EQ(largest(image.grad()), 0.0);  // a NaN would not compare equal
}

TEST(PerceptualNetwork, NoImagesHaveNoDistanceButAGraph) {
  const at::Tensor none = at::zeros({0, 1, 32, 32}, at::TensorOptions(at::kDouble)).set_requires_grad(true);
  const at::Tensor distance = network().distance(none, none.detach());
  EXPECT_EQ(distance.numel(), 0);
  torch::autograd::backward({distance.sum()}, {});
  EXPECT_TRUE(none.grad().defined());
}

TEST(PerceptualNetwork, NamesEveryFaultOfTheWeights) {
  std::vector<NamedTensor> weights = random_weights();
  for (NamedTensor& entry : weights) {
    if (entry.name == "net.slice3.12.bias") entry.name = "other";
    if (entry.name == "lin2.model.1.weight") entry.tensor = entry.tensor.reshape({256});
  }
  const base::Error error = test::refusal_of(base::ExitCode::data, [&] { PerceptualNetwork made(weights, {}); });
  EXPECT_NE(error.text().value.find("net.slice3.12.bias is missing"), std::string::npos) << error.text().value;
  EXPECT_NE(error.text().value.find("lin2.model.1.weight is [256]"), std::string::npos) << error.text().value;
}

}  // namespace
}  // namespace leda::models
