#include "training/loop/interval_statistics.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

namespace leda::training {

IntervalStatistics::StepTime::~StepTime() {
  statistics_.step_seconds_ += base::steady_seconds() - begin_;
  statistics_.blocked_seconds_ += statistics_.blocked_seconds_so_far() - blocked_;
}

void IntervalStatistics::begin(double data_wait_seconds) {
  reports_.clear();
  num_images_ = 0;
  since_begin_ = base::Stopwatch();
  data_wait_at_begin_ = data_wait_seconds;
  step_seconds_ = 0.0;
  blocked_seconds_ = 0.0;
}

double IntervalStatistics::blocked_seconds_so_far() const {
  return trace_ != nullptr ? trace_->seconds_blocked() : 0.0;
}

void IntervalStatistics::add_report(const LossReport& report) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> values;
  names_.clear();
  for (const auto& [name, value] : report) {
    names_.push_back(name);
    values.push_back(value.detach().to(at::kDouble).reshape({-1}));
  }
  reports_.push_back(at::stack(values));
}

std::vector<logging::Scalar> IntervalStatistics::means() const {
  const at::Tensor all = at::cat(reports_, 1).cpu().contiguous();
  distributed::all_reduce(communicator_, all);
  const auto values = all.accessor<double, 2>();
  const std::size_t num_names = names_.size();
  const auto skipped_index =
      static_cast<std::size_t>(std::find(names_.begin(), names_.end(), kSkippedUpdates) - names_.begin());
  std::vector<double> sums(num_names, 0.0);
  std::int64_t num_made = 0;
  std::int64_t column = 0;
  for (const at::Tensor& step : reports_) {
    std::vector<double> of_step(num_names, 0.0);
    for (const std::int64_t end = column + step.size(1); column < end; ++column) {
      for (std::size_t i = 0; i < num_names; ++i) of_step[i] += values[static_cast<std::int64_t>(i)][column];
    }
    // Losses of a skipped update are not finite and say nothing about the network.
    if (of_step[skipped_index] > 0.5) continue;
    for (std::size_t i = 0; i < num_names; ++i) sums[i] += of_step[i];
    ++num_made;
  }
  const auto num_skipped = static_cast<std::int64_t>(reports_.size()) - num_made;
  std::vector<logging::Scalar> means;
  for (std::size_t i = 0; i < num_names; ++i) {
    if (i == skipped_index) means.push_back({names_[i], static_cast<double>(num_skipped)});
    if (i != skipped_index && num_made > 0) means.push_back({names_[i], sums[i] / static_cast<double>(num_made)});
  }
  return means;
}

WaitShares IntervalStatistics::wait_shares(double data_wait_seconds) const {
  const at::Tensor shares = at::zeros({2}, at::kDouble);
  auto* share = shares.mutable_data_ptr<double>();
  share[0] = (data_wait_seconds - data_wait_at_begin_) / step_seconds_;
  share[1] = blocked_seconds_ / step_seconds_;
  distributed::all_reduce(communicator_, shares);
  const double num_ranks = communicator_.size();
  return {share[0] / num_ranks, share[1] / num_ranks};
}

double IntervalStatistics::images_per_second() const {
  return static_cast<double>(num_images_) / since_begin_.seconds();
}

}  // namespace leda::training
