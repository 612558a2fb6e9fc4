#include "evaluation/dead_network.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cmath>

namespace leda::evaluation {
namespace {

// Over pairs of neighbours whose outputs are not 0, but for the noise of all pairs.
enum Sum { kPairs, kChange, kNoise, kChangeTimesNoise, kNoiseSquared, kAllNoiseSquared, kNumSums };

at::Tensor step_to_right_neighbour(const at::Tensor& images) {
  return images.slice(-1, 1) - images.slice(-1, 0, images.size(-1) - 1);
}

}  // namespace

DeadNetworkSums::DeadNetworkSums() : sums_(at::zeros({kNumSums}, at::kDouble)) {}

void DeadNetworkSums::add(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose) {
  const at::Tensor result = output.detach().to(at::kDouble);
  const at::Tensor low = low_dose.detach().to(at::kDouble);
  const at::Tensor non_zero = result.ne(0.0).to(at::kDouble);
  const at::Tensor counts = non_zero.slice(-1, 1) * non_zero.slice(-1, 0, non_zero.size(-1) - 1);
  const at::Tensor change = step_to_right_neighbour(low - result) * counts;
  const at::Tensor all_noise = step_to_right_neighbour(low - normal_dose.detach().to(at::kDouble));
  const at::Tensor noise = all_noise * counts;
  sums_ += at::stack({counts.sum(), change.sum(), noise.sum(), (change * noise).sum(), noise.square().sum(),
                      all_noise.square().sum()})
               .cpu();
}

double DeadNetworkSums::share() const {
  const double* s = sums_.const_data_ptr<double>();
  if (!(s[kAllNoiseSquared] > 0.0)) return 1.0;
  if (!(s[kPairs] > 0.0)) return 0.0;
  const double variance = s[kNoiseSquared] - s[kNoise] * s[kNoise] / s[kPairs];
  const double covariance = s[kChangeTimesNoise] - s[kChange] * s[kNoise] / s[kPairs];
  return variance > 0.0 ? covariance / variance : 0.0;
}

bool DeadNetworkSums::is_dead() const { return std::abs(share()) < kDeadShare; }

bool is_dead(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose) {
  DeadNetworkSums sums;
  sums.add(output, low_dose, normal_dose);
  return sums.is_dead();
}

}  // namespace leda::evaluation
