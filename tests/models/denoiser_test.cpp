#include "models/denoiser.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/conv_transpose2d.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <map>

#include "base/error.hpp"
#include "tests/support/finite_differences.hpp"
#include "tests/support/refusal.hpp"

namespace leda::models {
namespace {

using test::gradient_error;
using test::largest;
using test::normal_tensor;

TEST(RedCnn, PublishedSizeAndNames) {
  const auto denoiser = make_denoiser({}, {});
  std::int64_t num_values = 0;
  std::map<std::string, std::vector<std::int64_t>> shapes;
  for (const NamedTensor& entry : denoiser->tensors().parameters) {
    num_values += entry.tensor.numel();
    shapes[entry.name] = entry.tensor.sizes().vec();
  }
  EXPECT_EQ(num_values, 1848865);
  EXPECT_EQ(shapes.size(), 20u);
  EXPECT_EQ(shapes.at("conv1.weight"), (std::vector<std::int64_t>{96, 1, 5, 5}));
  EXPECT_EQ(shapes.at("conv5.bias"), (std::vector<std::int64_t>{96}));
  EXPECT_EQ(shapes.at("tconv1.weight"), (std::vector<std::int64_t>{96, 96, 5, 5}));
  EXPECT_EQ(shapes.at("tconv5.weight"), (std::vector<std::int64_t>{96, 1, 5, 5}));
  EXPECT_EQ(shapes.at("tconv5.bias"), (std::vector<std::int64_t>{1}));
  EXPECT_TRUE(denoiser->tensors().buffers.empty());
}

// The equations of the paper's figure, on s u, divided by s.
TEST(RedCnn, EqualsItsEquations) {
  const double scale = 10.0;
  const auto denoiser = make_denoiser({.channels = 4, .input_scale = scale}, {.dtype = at::kDouble, .seed = 3});
  std::map<std::string, at::Tensor> w;
  for (const NamedTensor& entry : denoiser->tensors().parameters) w[entry.name] = entry.tensor.detach();
  const auto conv = [&](const std::string& name, const at::Tensor& x) {
    return at::conv2d(x, w.at(name + ".weight"), w.at(name + ".bias"));
  };
  const auto tconv = [&](const std::string& name, const at::Tensor& x) {
    return at::conv_transpose2d(x, w.at(name + ".weight"), w.at(name + ".bias"));
  };
  const at::Tensor low_dose = normal_tensor({2, 1, 24, 30}, 1, 0.1) + 0.3, x = low_dose * scale;
  const at::Tensor c1 = at::relu(conv("conv1", x)), c2 = at::relu(conv("conv2", c1)), c3 = at::relu(conv("conv3", c2));
  const at::Tensor c4 = at::relu(conv("conv4", c3)), c5 = at::relu(conv("conv5", c4));
  const at::Tensor d1 = tconv("tconv1", c5) + c4, d2 = tconv("tconv2", at::relu(d1));
  const at::Tensor d3 = tconv("tconv3", at::relu(d2)) + c2, d4 = tconv("tconv4", at::relu(d3));
  const at::Tensor expected = at::relu(tconv("tconv5", at::relu(d4)) + x) / scale;
  EXPECT_LT(largest(denoiser->denoise(low_dose) - expected), 1e-14);
}

TEST(RedCnn, ZeroLastLayerStartsAsTheIdentity) {
  const auto denoiser =
      make_denoiser({.channels = 4, .input_scale = 8.0, .zero_last_layer = true}, {.dtype = at::kDouble, .seed = 3});
  const at::Tensor low_dose = normal_tensor({2, 1, 24, 24}, 2).abs();
  EXPECT_LT(largest(denoiser->denoise(low_dose) - low_dose), 1e-15);
}

TEST(RedCnn, GradientEqualsFiniteDifferences) {
  const auto denoiser = make_denoiser({.channels = 4}, {.dtype = at::kDouble, .seed = 3});
  const at::Tensor weights = normal_tensor({1, 1, 22, 23}, 3);
  const auto weighted = [&](const at::Tensor& images) { return (denoiser->denoise(images) * weights).sum(); };
  EXPECT_LT(gradient_error(weighted, normal_tensor({1, 1, 22, 23}, 4).abs() + 1, 60, 1e-6), 1e-6);
}

TEST(RedCnn, SmallestImageAndNone) {
  for (const at::ScalarType type : {at::kFloat, at::kDouble}) {
    const auto denoiser = make_denoiser({.channels = 4}, {.dtype = type});
    const std::int64_t side = denoiser->smallest_size();
    EXPECT_EQ(denoiser->denoise(at::zeros({1, 1, side, side}, at::TensorOptions(type))).numel(), side * side);
    const at::Tensor none = denoiser->denoise(at::zeros({0, 1, 32, 32}, at::TensorOptions(type)));
    EXPECT_EQ(none.sizes(), (at::IntArrayRef{0, 1, 32, 32}));
    torch::autograd::backward({none.sum()}, {});
    for (const NamedTensor& entry : denoiser->tensors().parameters) {
      ASSERT_TRUE(entry.tensor.grad().defined()) << entry.name;
      EXPECT_EQ(largest(entry.tensor.grad()), 0.0) << entry.name;
    }
  }
}

TEST(MakeDenoiser, NamesTheKnownTypes) {
  const base::Error error = test::refusal_of(base::ExitCode::options, [] { make_denoiser({.type = "red-cnn"}, {}); });
  EXPECT_NE(error.text().remedy.find("red_cnn"), std::string::npos);
  EXPECT_THROW(make_denoiser({.input_scale = 0.0}, {}), base::Error);
  EXPECT_THROW(make_denoiser({.channels = 0}, {}), base::Error);
}

}  // namespace
}  // namespace leda::models
