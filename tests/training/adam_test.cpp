#include "training/adam.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"

namespace leda::training {
namespace {

// Algorithm 1 of Kingma and Ba, element by element in double precision.
struct PlainAdam {
  explicit PlainAdam(std::vector<double> start)
      : values(std::move(start)), first(values.size()), second(values.size()) {}

  void step(const std::vector<double>& gradients, double rate, const AdamOptions& options) {
    ++num_updates;
    for (std::size_t i = 0; i < values.size(); ++i) {
      first[i] = options.beta1 * first[i] + (1.0 - options.beta1) * gradients[i];
      second[i] = options.beta2 * second[i] + (1.0 - options.beta2) * gradients[i] * gradients[i];
      const double unbiased_first = first[i] / (1.0 - std::pow(options.beta1, num_updates));
      const double unbiased_second = second[i] / (1.0 - std::pow(options.beta2, num_updates));
      values[i] -= rate * unbiased_first / (std::sqrt(unbiased_second) + options.epsilon);
    }
  }

  std::vector<double> values, first, second;
  int num_updates = 0;
};

const std::vector<std::vector<std::int64_t>> kShapes{{}, {7}, {3, 5}, {4, 2, 3, 3}};

class AdamTest : public testing::Test {
 protected:
  std::vector<double> random_numbers(std::int64_t count, double scale) {
    std::vector<double> numbers;
    for (std::int64_t i = 0; i < count; ++i) {
      numbers.push_back(scale *
                        (static_cast<double>(engine_() - engine_.min()) / static_cast<double>(engine_.max()) - 0.5));
    }
    return numbers;
  }

  static at::Tensor tensor_of(const std::vector<double>& numbers, const std::vector<std::int64_t>& shape,
                              at::ScalarType dtype) {
    at::Tensor tensor = at::zeros({static_cast<std::int64_t>(numbers.size())}, at::kDouble);
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      tensor.accessor<double, 1>()[static_cast<std::int64_t>(i)] = numbers[i];
    }
    return tensor.to(dtype).reshape(shape).clone();
  }

  std::vector<models::NamedTensor> random_parameters(at::ScalarType dtype) {
    std::vector<models::NamedTensor> parameters;
    for (std::size_t i = 0; i < kShapes.size(); ++i) {
      const std::int64_t count = at::zeros(kShapes[i]).numel();
      parameters.push_back({"weight" + std::to_string(i), tensor_of(random_numbers(count, 2.0), kShapes[i], dtype)});
      parameters.back().tensor.set_requires_grad(true);
    }
    return parameters;
  }

  void set_random_gradients(const std::vector<models::NamedTensor>& parameters) {
    for (const models::NamedTensor& parameter : parameters) {
      const auto numbers = random_numbers(parameter.tensor.numel(), 0.1);
      parameter.tensor.mutable_grad() =
          tensor_of(numbers, parameter.tensor.sizes().vec(), parameter.tensor.scalar_type());
    }
  }

  static std::vector<double> numbers_of(const at::Tensor& tensor) {
    const at::Tensor flat = tensor.detach().to(at::kDouble).reshape({-1}).contiguous();
    return {flat.data_ptr<double>(), flat.data_ptr<double>() + flat.numel()};
  }

  std::minstd_rand engine_{5};
};

TEST_F(AdamTest, FollowsThePublishedFormulasOverFiftySteps) {
  for (const AdamOptions options : {AdamOptions{}, AdamOptions{0.5, 0.9, 1e-6}}) {
    const auto parameters = random_parameters(at::kDouble);
    std::vector<PlainAdam> plain;
    for (const auto& parameter : parameters) plain.emplace_back(numbers_of(parameter.tensor));
    Adam adam(parameters, options);
    for (int step = 0; step < 50; ++step) {
      const double rate = 0.01 / (1 + step);
      set_random_gradients(parameters);
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        plain[i].step(numbers_of(parameters[i].tensor.grad()), rate, options);
      }
      adam.step(rate);
    }
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto values = numbers_of(parameters[i].tensor);
      for (std::size_t j = 0; j < values.size(); ++j) {
        EXPECT_NEAR(values[j], plain[i].values[j], 1e-12) << parameters[i].name << " element " << j;
      }
    }
  }
}

TEST_F(AdamTest, Float32FollowsTheSameFormulas) {
  const auto parameters = random_parameters(at::kFloat);
  std::vector<PlainAdam> plain;
  for (const auto& parameter : parameters) plain.emplace_back(numbers_of(parameter.tensor));
  Adam adam(parameters, {});
  for (int step = 0; step < 50; ++step) {
    set_random_gradients(parameters);
    for (std::size_t i = 0; i < parameters.size(); ++i)
      plain[i].step(numbers_of(parameters[i].tensor.grad()), 1e-2, {});
    adam.step(1e-2);
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto values = numbers_of(parameters[i].tensor);
    for (std::size_t j = 0; j < values.size(); ++j) EXPECT_NEAR(values[j], plain[i].values[j], 1e-5);
  }
}

// The first update has the size of the rate whatever the gradient's: m/sqrt(v) = sign(g).
TEST_F(AdamTest, FirstUpdateIsTheRateTimesTheSign) {
  const at::Tensor weight = at::zeros({2}, at::kDouble).set_requires_grad(true);
  weight.mutable_grad() = tensor_of({1000.0, -0.001}, {2}, at::kDouble);
  Adam({{"weight", weight}}, {.epsilon = 1e-12}).step(0.25);
  EXPECT_NEAR(numbers_of(weight)[0], -0.25, 1e-8);
  EXPECT_NEAR(numbers_of(weight)[1], 0.25, 1e-8);
}

TEST_F(AdamTest, ASavedStateGoesOnToTheSameBits) {
  const auto parameters = random_parameters(at::kFloat);
  Adam adam(parameters, {});
  for (int step = 0; step < 7; ++step) {
    set_random_gradients(parameters);
    adam.step(1e-2);
  }
  storage::TensorArchive archive;
  adam.append_state("stage.", archive);
  for (auto& [name, tensor] : archive.tensors) tensor = tensor.clone();
  EXPECT_EQ(archive.tensors.size(), 3 * parameters.size());

  std::vector<models::NamedTensor> copies;
  for (const auto& parameter : parameters) {
    copies.push_back({parameter.name, parameter.tensor.detach().clone().set_requires_grad(true)});
  }
  Adam resumed(copies, {});
  resumed.load_state("stage.", archive);
  for (int step = 0; step < 7; ++step) {
    set_random_gradients(parameters);
    for (std::size_t i = 0; i < copies.size(); ++i) {
      copies[i].tensor.mutable_grad() = parameters[i].tensor.grad().clone();
    }
    adam.step(1e-2);
    resumed.step(1e-2);
  }
  for (std::size_t i = 0; i < copies.size(); ++i) {
    EXPECT_TRUE(copies[i].tensor.equal(parameters[i].tensor)) << copies[i].name;
  }
}

TEST_F(AdamTest, AStateThatDoesNotFitIsRefusedByEntry) {
  const auto parameters = random_parameters(at::kFloat);
  Adam adam(parameters, {});
  storage::TensorArchive archive;
  adam.append_state("", archive);
  const auto refusal = [&](const storage::TensorArchive& state) -> std::string {
    return test::refusal_message(base::ExitCode::data, [&] { adam.load_state("", state); });
  };
  EXPECT_NO_THROW(adam.load_state("", archive));
  storage::TensorArchive shorter = archive;
  shorter.tensors.erase(shorter.tensors.begin() + 4);
  EXPECT_THAT(refusal(shorter), testing::HasSubstr(archive.tensors[4].first));
  storage::TensorArchive other = archive;
  other.tensors[6].second = at::zeros({5, 3});
  EXPECT_THAT(refusal(other),
              testing::AllOf(testing::HasSubstr(archive.tensors[6].first), testing::HasSubstr("[5, 3]")));
}

}  // namespace
}  // namespace leda::training
