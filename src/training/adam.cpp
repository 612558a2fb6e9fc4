#include "training/adam.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "model_files/network_state.hpp"

namespace leda::training {

Adam::Adam(std::vector<models::NamedTensor> parameters, AdamOptions options)
    : parameters_(std::move(parameters)), options_(options) {
  for (const models::NamedTensor& parameter : parameters_) {
    first_moments_.push_back(at::zeros_like(parameter.tensor.detach()));
    second_moments_.push_back(at::zeros_like(parameter.tensor.detach()));
    num_updates_.push_back(at::zeros({}, parameter.tensor.options().dtype(at::kFloat).requires_grad(false)));
  }
}

void Adam::step(double learning_rate) {
  const at::NoGradGuard no_grad;
  at::_foreach_add_(num_updates_, 1);
  update(learning_rate, std::nullopt);
}

void Adam::step(double learning_rate, const at::Tensor& is_skipped) {
  const at::NoGradGuard no_grad;
  at::_foreach_add_(num_updates_, 1 - is_skipped);
  update(learning_rate, is_skipped);
}

void Adam::update(double learning_rate, const std::optional<at::Tensor>& is_skipped) {
  std::vector<at::Tensor> values;
  std::vector<at::Tensor> gradients;
  for (const models::NamedTensor& parameter : parameters_) {
    values.push_back(parameter.tensor);
    gradients.push_back(parameter.tensor.grad());
  }
  at::_fused_adam_(values, gradients, first_moments_, second_moments_, {}, num_updates_, learning_rate, options_.beta1,
                   options_.beta2, /*weight_decay=*/0.0, options_.epsilon, /*amsgrad=*/false, /*maximize=*/false,
                   /*grad_scale=*/{}, is_skipped);
}

void Adam::append_state(const std::string& prefix, storage::TensorArchive& archive) const {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    archive.tensors.emplace_back(prefix + "first_moment." + name, first_moments_[i]);
    archive.tensors.emplace_back(prefix + "second_moment." + name, second_moments_[i]);
    archive.tensors.emplace_back(prefix + "num_updates." + name, num_updates_[i]);
  }
}

void Adam::load_state(const std::string& prefix, const storage::TensorArchive& archive) {
  const model_files::ArchiveIndex index(archive, "the optimiser state");
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const std::string& name = parameters_[i].name;
    index.copy_into(prefix + "first_moment." + name, first_moments_[i]);
    index.copy_into(prefix + "second_moment." + name, second_moments_[i]);
    index.copy_into(prefix + "num_updates." + name, num_updates_[i]);
  }
}

}  // namespace leda::training
