#include "distributed/gradient_synchronizer.hpp"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/keyed_random.hpp"

namespace leda::distributed {
namespace {

// Gradients begin on cache lines of their own.
constexpr std::int64_t kAlignmentBytes = 64;

std::int64_t aligned_elements(const at::Tensor& tensor) {
  const std::int64_t step = kAlignmentBytes / tensor.element_size();
  return (tensor.numel() + step - 1) / step * step;
}

// An alias rather than a view, which optimisers could not zero. The parameter's strides, as autograd would choose.
at::Tensor alias(const at::Tensor& flat, std::int64_t offset, const at::Tensor& parameter) {
  std::vector<std::int64_t> strides = parameter.strides().vec();
  if (!parameter.is_non_overlapping_and_dense()) strides = parameter.detach().contiguous().strides().vec();
  return at::empty({0}, flat.options()).set_(flat.storage(), offset, parameter.sizes(), strides);
}

std::size_t as_size(int index) { return static_cast<std::size_t>(index); }

}  // namespace

// Lives in the parameter; refers to it by index, because a handle would keep it alive for ever.
class GradientSynchronizer::Hook : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSynchronizer& owner, int parameter_index) : owner_(owner), parameter_index_(parameter_index) {}
  void operator()(const torch::autograd::Variable&) override { owner_.note_gradient(parameter_index_); }

 private:
  GradientSynchronizer& owner_;
  int parameter_index_;
};

GradientSynchronizer::GradientSynchronizer(std::vector<NamedParameter> parameters, BucketPlan plan,
                                           Communicator& communicator, logging::Trace* trace)
    : parameters_(std::move(parameters)), plan_(std::move(plan)), channel_(communicator.duplicate()), trace_(trace) {
  check_ranks_agree();
  check_plan();
  lay_out_buckets();
  attach_gradients();
  for (int i = 0; i < static_cast<int>(parameters_.size()); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[as_size(i)].tensor, std::make_unique<Hook>(*this, i));
  }
}

GradientSynchronizer::~GradientSynchronizer() {
  for (const NamedParameter& parameter : parameters_) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter.tensor, nullptr);
  }
}

void GradientSynchronizer::check_ranks_agree() {
  std::string description = plan_.text();
  for (const auto& [name, tensor] : parameters_) {
    description += fmt::format(";{} {} [{}] [{}]", name, c10::toString(tensor.scalar_type()),
                               fmt::join(tensor.sizes(), ","), fmt::join(tensor.strides(), ","));
  }
  const at::Tensor mine = at::empty({1}, at::kLong);
  *mine.mutable_data_ptr<std::int64_t>() = static_cast<std::int64_t>(base::key_of(description));
  const at::Tensor all = all_gather(*channel_, mine);
  const auto* hash = all.const_data_ptr<std::int64_t>();
  for (int rank = 1; rank < channel_->size(); ++rank) {
    if (hash[rank] == hash[0]) continue;
    throw base::ErrorOnAllRanks(base::ExitCode::communication,
                                {.what = fmt::format("ranks 0 and {} train different networks", rank),
                                 .value = "names, shapes or memory layouts of parameters, or bucket plans, differ",
                                 .why = "their gradients would be summed into each other's parameters",
                                 .remedy = "start all ranks with the same program, options and checkpoint"});
  }
}

void GradientSynchronizer::check_plan() const {
  std::vector<int> num_uses(parameters_.size(), 0);
  bool is_sound = true;
  for (const std::vector<int>& bucket : plan_.parameter_indices) {
    is_sound = is_sound && !bucket.empty();
    for (const int index : bucket) {
      const bool exists = index >= 0 && index < static_cast<int>(parameters_.size());
      is_sound = is_sound && exists &&
                 parameters_[as_size(index)].tensor.dtype() == parameters_[as_size(bucket.front())].tensor.dtype();
      if (exists) ++num_uses[as_size(index)];
    }
  }
  is_sound = is_sound && std::all_of(num_uses.begin(), num_uses.end(), [](int uses) { return uses == 1; });
  if (is_sound) return;
  throw base::ErrorOnAllRanks(base::ExitCode::data,
                              {.what = "the bucket plan does not fit the network's parameters",
                               .value = fmt::format("{} parameters, plan {}", parameters_.size(), plan_.text()),
                               .why = "each gradient must travel exactly once, with others of its type",
                               .remedy = "resume with the network the checkpoint was made of"});
}

void GradientSynchronizer::lay_out_buckets() {
  const c10::NoGradGuard no_gradients;
  places_.resize(parameters_.size());
  for (int bucket = 0; bucket < static_cast<int>(plan_.parameter_indices.size()); ++bucket) {
    const std::vector<int>& indices = plan_.parameter_indices[as_size(bucket)];
    std::int64_t size = 0;
    for (const int index : indices) {
      places_[as_size(index)].bucket = bucket;
      places_[as_size(index)].offset = size;
      size += aligned_elements(parameters_[as_size(index)].tensor);
    }
    const at::Tensor& first = parameters_[as_size(indices.front())].tensor;
    flat_gradients_.push_back(at::zeros({size}, first.options().requires_grad(false)));
    for (const int index : indices) {
      Place& place = places_[as_size(index)];
      place.gradient = alias(flat_gradients_.back(), place.offset, parameters_[as_size(index)].tensor);
    }
  }
}

void GradientSynchronizer::attach_gradients() {
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    at::Tensor& gradient = parameters_[i].tensor.mutable_grad();
    if (!gradient.is_same(places_[i].gradient)) gradient = places_[i].gradient;
  }
}

void GradientSynchronizer::begin_step(std::int64_t step, int num_micro_batches) {
  step_ = step;
  micro_batches_left_ = num_micro_batches;
  has_micro_batches_ = num_micro_batches > 0;
  is_open_ = true;
  is_sending_ = false;
  has_gradient_.assign(parameters_.size(), false);
  num_sent_ = 0;
  departures_.clear();
  non_finite_parameter_.reset();
  for (at::Tensor& flat : flat_gradients_) flat.zero_();
  attach_gradients();
}

void GradientSynchronizer::begin_micro_batch(bool is_last) {
  --micro_batches_left_;
  if (!is_open_ || is_last != (micro_batches_left_ == 0)) {
    throw std::logic_error("begin_step announced another number of micro-batches");
  }
  is_sending_ = is_last;
  if (!is_last) return;
  num_missing_.clear();
  for (const std::vector<int>& bucket : plan_.parameter_indices)
    num_missing_.push_back(static_cast<int>(bucket.size()));
}

void GradientSynchronizer::note_gradient(int parameter_index) {
  if (!is_open_) return;
  const NamedParameter& parameter = parameters_[as_size(parameter_index)];
  const Place& place = places_[as_size(parameter_index)];
  if (parameter.tensor.grad().data_ptr() != place.gradient.data_ptr()) {
    throw std::logic_error("the gradient of " + parameter.name + " has left its bucket (zero_grad, or create_graph)");
  }
  has_gradient_[as_size(parameter_index)] = true;
  if (!is_sending_) return;
  if (--num_missing_[as_size(place.bucket)] < 0) {
    throw std::logic_error("a second backward in one micro-batch reached " + parameter.name);
  }
  send_full_buckets();
}

// In planned order only, whatever the order of arrival: ranks would otherwise pair unlike buckets.
void GradientSynchronizer::send_full_buckets() {
  while (num_sent_ < static_cast<int>(flat_gradients_.size()) && num_missing_[as_size(num_sent_)] == 0) {
    send_bucket(num_sent_);
  }
}

void GradientSynchronizer::send_bucket(int bucket) {
  if (!non_finite_parameter_) non_finite_parameter_ = first_non_finite(bucket);
  const double now = base::steady_seconds();
  departures_.push_back({channel_->start_all_reduce(flat_gradients_[as_size(bucket)]), now});
  ++num_sent_;
}

std::optional<int> GradientSynchronizer::first_non_finite(int bucket) const {
  const c10::NoGradGuard no_gradients;
  const at::Tensor& flat = flat_gradients_[as_size(bucket)];
  if (!flat.is_cpu()) return std::nullopt;
  // A sum is finite only if every term is; where it is not, large finite terms may be the reason.
  if (std::isfinite(flat.sum().item<double>())) return std::nullopt;
  for (const int index : plan_.parameter_indices[as_size(bucket)]) {
    if (!at::isfinite(places_[as_size(index)].gradient).all().item<bool>()) return index;
  }
  return std::nullopt;
}

void GradientSynchronizer::finish() {
  if (!is_open_ || micro_batches_left_ != 0) throw std::logic_error("finish before the last micro-batch");
  is_sending_ = false;
  // Buckets with a gradient missing leave now, so that all ranks make the same calls and the fault can be agreed on.
  while (num_sent_ < static_cast<int>(flat_gradients_.size())) send_bucket(num_sent_);
  is_open_ = false;
  agree_on_faults();
}

void GradientSynchronizer::agree_on_faults() {
  const int num_ranks = channel_->size();
  // Row 0: 1 + the index of a parameter without a gradient, row 1: of one with a non-finite gradient; one column a
  // rank.
  const at::Tensor faults = at::zeros({2, num_ranks}, at::kLong);
  auto* fault = faults.mutable_data_ptr<std::int64_t>();
  const auto missing = std::find(has_gradient_.begin(), has_gradient_.end(), false);
  if (has_micro_batches_ && missing != has_gradient_.end()) {
    fault[channel_->rank()] = 1 + (missing - has_gradient_.begin());
  }
  if (non_finite_parameter_) fault[num_ranks + channel_->rank()] = 1 + *non_finite_parameter_;
  departures_.push_back({channel_->start_all_reduce(faults), base::steady_seconds()});
  wait_for_sums();

  for (int i = 0; i < 2 * num_ranks; ++i) {
    if (fault[i] == 0) continue;
    const std::string& name = parameters_[static_cast<std::size_t>(fault[i] - 1)].name;
    const std::string where = fmt::format("rank {}, parameter {}, step {}", i % num_ranks, name, step_);
    if (i < num_ranks) {
      throw base::ErrorOnAllRanks(base::ExitCode::internal,
                                  {.what = "backward left a parameter without a gradient",
                                   .value = where,
                                   .why = "a parameter that the loss does not reach is never trained",
                                   .remedy = "freeze the parameter, or let the loss depend on it on every rank"});
    }
    throw base::ErrorOnAllRanks(base::ExitCode::non_finite,
                                {.what = "a gradient is not finite",
                                 .value = where,
                                 .why = "one update with it would destroy the network on all ranks",
                                 .remedy = "lower the learning rate or training.max_gradient_norm and start the run "
                                           "again, it resumes from its last checkpoint; check that rank's data"});
  }
}

// A bucket is seen to be complete when the host asks, which it does in finish() only.
void GradientSynchronizer::wait_for_sums() {
  const logging::Span wait(trace_, "exposed wait", step_, logging::Span::Kind::exposed_wait);
  for (std::size_t i = 0; i < departures_.size(); ++i) {
    departures_[i].sum->wait();
    if (trace_ == nullptr || i >= flat_gradients_.size()) continue;
    trace_->add_bucket(departures_[i].seconds, base::steady_seconds(),
                       {{"step", step_},
                        {"index", static_cast<std::int64_t>(i)},
                        {"bytes", static_cast<std::int64_t>(flat_gradients_[i].nbytes())}});
  }
  departures_.clear();
}

at::Tensor GradientSynchronizer::squared_norm() const {
  const c10::NoGradGuard no_gradients;
  const auto device = flat_gradients_.empty() ? at::Device(at::kCPU) : flat_gradients_.front().device();
  at::Tensor sum = at::zeros({}, at::TensorOptions().dtype(at::kDouble).device(device));
  for (const at::Tensor& flat : flat_gradients_) {
    sum += at::linalg_vector_norm(flat, 2.0, {}, false, at::kDouble).square();
  }
  return sum;
}

double GradientSynchronizer::global_norm() const { return std::sqrt(squared_norm().item<double>()); }

}  // namespace leda::distributed
