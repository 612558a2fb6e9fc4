#include "distributed/core/stop_agreement.hpp"

#include <ATen/ops/zeros.h>

namespace leda::distributed {

using base::StopRequest;

StopAgreement::StopAgreement(Communicator& communicator)
    : channel_(communicator.duplicate()), votes_(at::zeros({2}, at::kLong)) {}

StopRequest StopAgreement::exchange(StopRequest mine) {
  const StopRequest agreed = drain();
  votes_ = at::zeros({2}, at::kLong);
  auto* vote = votes_.mutable_data_ptr<std::int64_t>();
  vote[0] = mine == StopRequest::run_again ? 1 : 0;
  vote[1] = mine == StopRequest::do_not_restart ? 1 : 0;
  pending_ = channel_->start_all_reduce(votes_);
  return agreed;
}

StopRequest StopAgreement::drain() {
  if (!pending_) return StopRequest::none;
  pending_->wait();
  pending_.reset();
  const auto* vote = votes_.const_data_ptr<std::int64_t>();
  if (vote[1] > 0) return StopRequest::do_not_restart;
  return vote[0] > 0 ? StopRequest::run_again : StopRequest::none;
}

bool StopAgreement::is_any_urgent(bool mine) {
  drain();
  const at::Tensor votes = at::zeros({1}, at::kLong);
  *votes.mutable_data_ptr<std::int64_t>() = mine ? 1 : 0;
  all_reduce(*channel_, votes);
  return *votes.const_data_ptr<std::int64_t>() > 0;
}

}  // namespace leda::distributed
