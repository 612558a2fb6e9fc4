#include "evaluation/dead_network.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>

namespace leda::evaluation {
namespace {

enum Sum { kPixels, kNonZero, kChange, kChangeSquared, kNoise, kNoiseSquared, kNumSums };

double deviation(double count, double sum, double sum_of_squares) {
  if (count <= 0.0) return 0.0;
  const double average = sum / count;
  return std::sqrt(std::max(0.0, sum_of_squares / count - average * average));
}

}  // namespace

DeadNetworkSums::DeadNetworkSums() : sums_(at::zeros({kNumSums}, at::kDouble)) {}

void DeadNetworkSums::add(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose) {
  const at::Tensor result = output.detach().to(at::kDouble);
  const at::Tensor low = low_dose.detach().to(at::kDouble);
  const at::Tensor non_zero = result.ne(0.0).to(at::kDouble);
  const at::Tensor change = (result - low) * non_zero;
  const at::Tensor noise = low - normal_dose.detach().to(at::kDouble);
  sums_ += at::stack({at::zeros({}, result.options()) + static_cast<double>(result.numel()), non_zero.sum(),
                      change.sum(), change.square().sum(), noise.sum(), noise.square().sum()})
               .cpu();
}

double DeadNetworkSums::share() const {
  const double* s = sums_.const_data_ptr<double>();
  const double noise = deviation(s[kPixels], s[kNoise], s[kNoiseSquared]);
  const double change = deviation(s[kNonZero], s[kChange], s[kChangeSquared]);
  return noise > 0.0 ? change / noise : 1.0;
}

bool DeadNetworkSums::is_dead() const { return share() < kDeadShare; }

bool is_dead(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose) {
  DeadNetworkSums sums;
  sums.add(output, low_dose, normal_dose);
  return sums.is_dead();
}

}  // namespace leda::evaluation
