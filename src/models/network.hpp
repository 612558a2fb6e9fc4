// Networks as plain structs of tensors. A block is a struct with its weights and a call operator; a network owns the
// table of all its tensors under PyTorch's state-dict names, which is what the optimiser, the checkpoint and published
// weights speak of. Ready when constructed: type, device and first values are fixed by the scope it is built in.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace leda::models {

struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

// All tensors of a network in order of registration. Handles share storage with the blocks, so writing into an entry
// changes the network.
struct TensorTable {
  std::vector<NamedTensor> parameters;  // trained
  std::vector<NamedTensor> buffers;     // part of the state, never trained

  // Fixes every parameter: no gradients are computed or stored for it.
  void freeze();
};

struct TensorSettings {
  at::ScalarType dtype = at::kFloat;
  at::Device device = at::kCPU;
  std::uint64_t seed = 0;
};

// How a tensor starts. kaiming_uniform is PyTorch's default for convolutions: U(-b, b), b = 1/sqrt(fan_in), for weight
// and bias alike. Values depend on (seed, full name) only, not on the order of construction.
struct Initialisation {
  enum class Kind { constant, uniform, normal } kind = Kind::constant;
  double value = 0.0;  // the constant; the bound of uniform; the standard deviation of normal
  double mean = 0.0;   // of normal

  static Initialisation constant(double value) { return {Kind::constant, value, 0.0}; }
  static Initialisation uniform(double bound) { return {Kind::uniform, bound, 0.0}; }
  static Initialisation normal(double mean, double deviation) { return {Kind::normal, deviation, mean}; }
};

// Where in the state dict a block registers its tensors. The prefix is empty or ends with a dot; the table outlives
// the scope, and no two tensors of a table share a name.
class TensorScope {
 public:
  TensorScope(TensorTable& table, TensorSettings settings, std::string prefix = "")
      : table_(&table), settings_(settings), prefix_(std::move(prefix)) {}

  // The scope of a part: its tensors are called PREFIX name.*
  TensorScope child(const std::string& name) const;
  // Numbers are drawn in float64 and rounded, so networks of either precision start alike.
  at::Tensor parameter(const std::string& name, at::IntArrayRef shape, Initialisation initialisation) const;
  // `value` moved to the device, in its own type.
  at::Tensor buffer(const std::string& name, at::Tensor value) const;
  const TensorSettings& settings() const { return settings_; }

 private:
  TensorTable* table_;
  TensorSettings settings_;
  std::string prefix_;
};

// Sum over all ranks, differentiable; the identity with one rank. Handed in by training/, because models/ knows no
// ranks.
using SumOverRanks = std::function<at::Tensor(const at::Tensor&)>;

}  // namespace leda::models
