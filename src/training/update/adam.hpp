// Adam (Kingma and Ba, arXiv 1412.6980) by LibTorch's fused kernel, with its state as named tensors, which is what a
// checkpoint needs. The parameters and gradients belong to the caller and outlive the optimiser.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "models/network.hpp"
#include "storage/safetensors.hpp"

namespace leda::training {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1.0e-8;
};

class Adam {
 public:
  Adam(std::vector<models::NamedTensor> parameters, AdamOptions options);

  // One update with the gradients that the parameters hold now.
  void step(double learning_rate);
  // The same, unless `is_skipped` (float32, no dimensions, on the parameters' device) is 1: then nothing changes, and
  // nobody waits to know it.
  void step(double learning_rate, const at::Tensor& is_skipped);

  // `first_moment.NAME`, `second_moment.NAME`, `num_updates.NAME`, each behind `prefix`.
  void append_state(const std::string& prefix, storage::TensorArchive& archive) const;
  // Throws Error(data) naming the first entry that is missing or of another shape.
  void load_state(const std::string& prefix, const storage::TensorArchive& archive);

 private:
  void update(double learning_rate, const std::optional<at::Tensor>& is_skipped);

  std::vector<models::NamedTensor> parameters_;
  AdamOptions options_;
  std::vector<at::Tensor> first_moments_;
  std::vector<at::Tensor> second_moments_;
  std::vector<at::Tensor> num_updates_;  // float32 scalars, where the kernel wants them
};

}  // namespace leda::training
