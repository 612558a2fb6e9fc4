#include "models/network.hpp"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cassert>

#include "base/keyed_random.hpp"

namespace leda::models {
namespace {

[[maybe_unused]] bool is_registered(const std::vector<NamedTensor>& tensors, const std::string& name) {
  return std::any_of(tensors.begin(), tensors.end(), [&](const NamedTensor& entry) { return entry.name == name; });
}

void add([[maybe_unused]] const TensorTable& table, std::vector<NamedTensor>& list, const std::string& name,
         const at::Tensor& tensor) {
  assert(!is_registered(table.parameters, name) && !is_registered(table.buffers, name));
  list.push_back({name, tensor});
}

at::Tensor first_values(at::IntArrayRef shape, const Initialisation& initialisation, base::KeyedRandom random) {
  at::Tensor values = at::empty(shape, at::TensorOptions(at::kDouble));
  double* value = values.mutable_data_ptr<double>();
  double* const end = value + values.numel();
  switch (initialisation.kind) {
    case Initialisation::Kind::constant:
      std::fill(value, end, initialisation.value);
      break;
    case Initialisation::Kind::uniform:
      std::generate(value, end, [&] { return random.uniform(-initialisation.value, initialisation.value); });
      break;
    case Initialisation::Kind::normal:
      std::generate(value, end, [&] { return initialisation.mean + initialisation.value * random.normal(); });
      break;
  }
  return values;
}

}  // namespace

void TensorTable::freeze() {
  for (NamedTensor& parameter : parameters) {
    parameter.tensor.mutable_grad() = at::Tensor();
    parameter.tensor.set_requires_grad(false);
  }
}

TensorScope TensorScope::child(const std::string& name) const {
  return TensorScope(*table_, settings_, prefix_ + name + ".");
}

at::Tensor TensorScope::parameter(const std::string& name, at::IntArrayRef shape, Initialisation initialisation) const {
  const std::string full_name = prefix_ + name;
  const base::KeyedRandom random({settings_.seed, base::key_of(full_name)});
  at::Tensor tensor = first_values(shape, initialisation, random).to(settings_.device, settings_.dtype);
  tensor.set_requires_grad(true);
  add(*table_, table_->parameters, full_name, tensor);
  return tensor;
}

at::Tensor TensorScope::buffer(const std::string& name, at::Tensor value) const {
  const at::Tensor tensor = value.detach().to(settings_.device);
  add(*table_, table_->buffers, prefix_ + name, tensor);
  return tensor;
}

}  // namespace leda::models
