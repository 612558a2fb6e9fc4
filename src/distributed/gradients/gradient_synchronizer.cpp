#include "distributed/gradients/gradient_synchronizer.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <exception>
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

// In float64 over norms of short rows in the gradients' own precision: accumulating all of it in float64 takes 30 times
// as long on a CPU, an eighth of a step of a network with 13 M parameters.
at::Tensor squared_norm_of(const at::Tensor& flat) {
  constexpr std::int64_t kRow = 4096;
  const auto precision = flat.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const std::int64_t num_rows = flat.numel() / kRow;
  const at::Tensor rows = flat.narrow(0, 0, num_rows * kRow).view({num_rows, kRow});
  const at::Tensor rest = flat.narrow(0, num_rows * kRow, flat.numel() - num_rows * kRow);
  const at::Tensor of_rows = at::linalg_vector_norm(rows, 2.0, at::IntArrayRef{1}, false, precision);
  const at::Tensor of_rest = at::linalg_vector_norm(rest, 2.0, at::OptionalIntArrayRef(), false, precision);
  return of_rows.to(at::kDouble).square().sum() + of_rest.to(at::kDouble).square();
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

std::string NonFiniteGradient::text() const {
  const std::string others =
      num_others == 0 ? "" : fmt::format(" and {} other{}", num_others, num_others == 1 ? "" : "s");
  return fmt::format("rank {}{}, parameter {}, step {}", rank, others, parameter, step);
}

GradientSynchronizer::GradientSynchronizer(std::vector<NamedParameter> parameters, BucketPlan plan,
                                           Communicator& communicator, const SynchronizerOptions& options,
                                           logging::Trace* trace)
    : parameters_(std::move(parameters)),
      plan_(std::move(plan)),
      channel_(communicator.duplicate()),
      trace_(trace),
      overlaps_(options.overlap),
      sums_samples_(options.reproducible),
      exchange_(make_bucket_exchange(options, *channel_, trace, [this](int bucket) { note_sum(bucket); })),
      exceptions_at_start_(std::uncaught_exceptions()) {
  check_ranks_agree();
  check_plan();
  lay_out_buckets();
  attach_gradients();
  const bool is_in_host_memory = flat_gradients_.empty() || flat_gradients_.front().is_cpu();
  if (options.non_finite_check == NonFiniteCheck::on_device ||
      (options.non_finite_check == NonFiniteCheck::automatic && !is_in_host_memory)) {
    std::vector<std::vector<at::Tensor>> gradients(plan_.parameter_indices.size());
    for (std::size_t bucket = 0; bucket < gradients.size(); ++bucket) {
      for (const int index : plan_.parameter_indices[bucket])
        gradients[bucket].push_back(places_[as_size(index)].gradient);
    }
    tracker_ = std::make_unique<NonFiniteTracker>(std::move(gradients));
  }
  for (int i = 0; i < static_cast<int>(parameters_.size()); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameters_[as_size(i)].tensor, std::make_unique<Hook>(*this, i));
  }
}

GradientSynchronizer::~GradientSynchronizer() {
  for (const NamedParameter& parameter : parameters_) {
    torch::autograd::impl::set_post_acc_grad_hooks(parameter.tensor, nullptr);
  }
  // The channel must not go while the last step's agreement is under way on it; while unwinding nobody may answer.
  if (!agreement_ || std::uncaught_exceptions() > exceptions_at_start_) return;
  try {
    agreement_->wait();
  } catch (const base::Error&) {
    // The communicator has failed, which its next user hears of.
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

void GradientSynchronizer::begin_step(std::int64_t step, int num_micro_batches, std::int64_t num_samples) {
  step_ = step;
  micro_batches_left_ = num_micro_batches;
  has_micro_batches_ = num_micro_batches > 0;
  is_open_ = true;
  is_sending_ = false;
  is_first_micro_batch_ = true;
  has_gradient_.assign(parameters_.size(), false);
  num_sent_ = 0;
  departure_seconds_.assign(flat_gradients_.size(), 0.0);
  non_finite_parameter_.reset();
  non_finite_.reset();
  exchange_->begin_step(num_samples);
  for (at::Tensor& flat : flat_gradients_) flat.zero_();
  attach_gradients();
}

void GradientSynchronizer::begin_micro_batch(bool is_last) {
  --micro_batches_left_;
  if (!is_open_ || is_last != (micro_batches_left_ == 0)) {
    throw std::logic_error("begin_step announced another number of micro-batches");
  }
  if (!std::exchange(is_first_micro_batch_, false) && sums_samples_) {
    for (int bucket = 0; bucket < static_cast<int>(flat_gradients_.size()); ++bucket) end_micro_batch(bucket);
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
  if (overlaps_) send_full_buckets();
}

// In planned order only, whatever the order of arrival: ranks would otherwise pair unlike buckets.
void GradientSynchronizer::send_full_buckets() {
  while (num_sent_ < static_cast<int>(flat_gradients_.size()) && num_missing_[as_size(num_sent_)] == 0) {
    send_bucket(num_sent_);
  }
}

void GradientSynchronizer::send_bucket(int bucket) {
  if (has_micro_batches_) end_micro_batch(bucket);
  departure_seconds_[as_size(bucket)] = base::steady_seconds();
  channel_->label_next(fmt::format("bucket {}, step {}", bucket, step_));
  exchange_->start(bucket, flat_gradients_[as_size(bucket)]);
  ++num_sent_;
}

void GradientSynchronizer::end_micro_batch(int bucket) {
  if (tracker_) {
    tracker_->note(bucket, step_);
  } else if (!non_finite_parameter_) {
    non_finite_parameter_ = first_non_finite(bucket);
  }
  exchange_->end_micro_batch(bucket, flat_gradients_[as_size(bucket)]);
}

std::optional<int> GradientSynchronizer::first_non_finite(int bucket) const {
  const c10::NoGradGuard no_gradients;
  const at::Tensor& flat = flat_gradients_[as_size(bucket)];
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
  const logging::Span wait(trace_, "exposed wait", step_, logging::Span::Kind::exposed_wait);
  if (checks_before_sum()) {
    start_agreement();
    exchange_->finish();
    conclude_agreement();
    return;
  }
  // The check on the device makes no host wait for this step: the ranks' answers are read in the next one.
  exchange_->finish();
  conclude_agreement();
  start_agreement();
}

void GradientSynchronizer::start_agreement() {
  const int num_ranks = channel_->size();
  faults_ = at::zeros({2, num_ranks}, at::kLong);
  step_of_faults_ = step_;
  auto* fault = faults_.mutable_data_ptr<std::int64_t>();
  const auto missing = std::find(has_gradient_.begin(), has_gradient_.end(), false);
  if (has_micro_batches_ && missing != has_gradient_.end()) {
    fault[channel_->rank()] = 1 + (missing - has_gradient_.begin());
  }
  if (non_finite_parameter_) fault[num_ranks + channel_->rank()] = 1 + *non_finite_parameter_;
  channel_->label_next(fmt::format("faults, step {}", step_));
  agreement_ = channel_->start_all_reduce(faults_);
}

void GradientSynchronizer::conclude_agreement() {
  if (!agreement_) return;
  std::exchange(agreement_, nullptr)->wait();
  const int num_ranks = channel_->size();
  const auto* fault = faults_.const_data_ptr<std::int64_t>();
  const auto describe = [&](int rank, std::int64_t entry) {
    return NonFiniteGradient{rank, 0, parameters_[static_cast<std::size_t>(entry - 1)].name, step_of_faults_};
  };
  for (int rank = 0; rank < num_ranks; ++rank) {
    if (fault[rank] == 0) continue;
    throw base::ErrorOnAllRanks(base::ExitCode::internal,
                                {.what = "backward left a parameter without a gradient",
                                 .value = describe(rank, fault[rank]).text(),
                                 .why = "a parameter that the loss does not reach is never trained",
                                 .remedy = "freeze the parameter, or let the loss depend on it on every rank"});
  }
  for (int rank = 0; rank < num_ranks; ++rank) {
    if (fault[num_ranks + rank] == 0) continue;
    if (non_finite_) {
      ++non_finite_->num_others;
    } else {
      non_finite_ = describe(rank, fault[num_ranks + rank]);
    }
  }
}

std::optional<NonFiniteGradient> GradientSynchronizer::take_non_finite() {
  if (!tracker_) throw std::logic_error("non-finite gradients are looked for before the sum");
  conclude_agreement();
  const at::Tensor all = all_gather(*channel_, tracker_->take());
  const auto* step = all.const_data_ptr<std::int64_t>();
  const std::int64_t num_parameters = all.size(1);
  std::vector<int> index_at;  // of the parameter, by place in the record
  for (const std::vector<int>& bucket : plan_.parameter_indices) {
    index_at.insert(index_at.end(), bucket.begin(), bucket.end());
  }
  std::optional<NonFiniteGradient> first;
  for (int rank = 0; rank < channel_->size(); ++rank) {
    std::optional<NonFiniteGradient> of_rank;
    for (std::int64_t place = 0; place < num_parameters; ++place) {
      const std::int64_t bad_step = step[rank * num_parameters + place];
      if (bad_step < 0 || (of_rank && of_rank->step <= bad_step)) continue;
      of_rank =
          NonFiniteGradient{rank, 0, parameters_[as_size(index_at[static_cast<std::size_t>(place)])].name, bad_step};
    }
    if (!of_rank) continue;
    if (first && first->step == of_rank->step) ++first->num_others;
    if (!first || of_rank->step < first->step) first = of_rank;
  }
  return first;
}

void GradientSynchronizer::note_sum(int bucket) {
  if (trace_ == nullptr) return;
  trace_->add_bucket(departure_seconds_[as_size(bucket)], base::steady_seconds(),
                     {{"step", step_},
                      {"index", bucket},
                      {"bytes", static_cast<std::int64_t>(flat_gradients_[as_size(bucket)].nbytes())}});
}

at::Tensor GradientSynchronizer::squared_norm() const {
  const c10::NoGradGuard no_gradients;
  const auto device = flat_gradients_.empty() ? at::Device(at::kCPU) : flat_gradients_.front().device();
  at::Tensor sum = at::zeros({}, at::TensorOptions().dtype(at::kDouble).device(device));
  for (const at::Tensor& flat : flat_gradients_) {
    sum += squared_norm_of(flat);
  }
  return sum;
}

}  // namespace leda::distributed
