// Tells a network that died: what it adds to its input has nothing to do with the noise in it. With its hidden units
// off that is a constant (and something else near the borders, where padding takes part of the biases away); units that
// answer to bone alone, say, add something useless there. Training asks after warm-up, evaluation for every method.
//
// The sums are additive, over batches and over ranks: add up `sums` with an all-reduce, then ask.
#pragma once

#include <ATen/core/Tensor.h>

namespace leda::evaluation {

// Dead: the regression of (input - output) on the noise, (low dose - normal dose), both taken as steps from a pixel to
// its right neighbour, has a slope below this in magnitude: less than 1 % of the noise is taken away. Networks that
// work reach 0.4 to 0.9. Steps, because a clipped background has an offset of its own, which any constant would seem to
// mend.
inline constexpr double kDeadShare = 0.01;

class DeadNetworkSums {
 public:
  // All zero, on the CPU.
  DeadNetworkSums();

  // Any equal shapes, network range, no element needed. Pixels whose output is exactly 0 do not count: a final ReLU
  // made them, whatever the network did. Waits for the device.
  void add(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose);

  // [6] float64, additive. Shared: summing it over ranks in place is what is_dead() then reads.
  at::Tensor sums() const { return sums_; }

  // False before anything was added, and where low and normal dose do not differ.
  bool is_dead() const;
  // The slope: the share of the noise that is taken away. 0 where the output is zero everywhere, 1 without any noise.
  double share() const;

 private:
  at::Tensor sums_;
};

// The same for one batch of one process.
bool is_dead(const at::Tensor& output, const at::Tensor& low_dose, const at::Tensor& normal_dose);

}  // namespace leda::evaluation
