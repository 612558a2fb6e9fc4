// Tells a network that died: its output is the input plus a constant, or nothing at all. Training asks after warm-up,
// evaluation for every method.
//
// The sums are additive, over batches and over ranks: add up `sums` with an all-reduce, then ask.
#pragma once

#include <ATen/core/Tensor.h>

namespace leda::evaluation {

// Dead: the standard deviation of (output - input) is below this share of that of (low dose - normal dose).
inline constexpr double kDeadShare = 1e-3;

class DeadNetworkSums {
 public:
  // All zero, on the CPU.
  DeadNetworkSums();

  // Any equal shapes, network range, no element needed. Pixels whose output is exactly 0 do not count in
  // (output - input): a final ReLU made them, whatever the network did. Waits for the device.
  void add(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose);

  // [6] float64, additive. Shared: summing it over ranks in place is what is_dead() then reads.
  at::Tensor sums() const { return sums_; }

  // False before anything was added, and where low and normal dose do not differ.
  bool is_dead() const;
  // std(output - input) / std(low dose - normal dose); 0 where the output is zero everywhere, 1 without any noise.
  double share() const;

 private:
  at::Tensor sums_;
};

// The same for one batch of one process.
bool is_dead(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose);

}  // namespace leda::evaluation
