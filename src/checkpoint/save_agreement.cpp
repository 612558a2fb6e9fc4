#include "checkpoint/save_agreement.hpp"

#include <ATen/ops/zeros.h>

namespace leda::checkpoint {

SaveAgreement::SaveAgreement(distributed::Communicator& communicator) : channel_(communicator.duplicate()) {}

SaveAgreement::Tally SaveAgreement::exchange(bool is_done, bool has_failed) {
  const Tally tally = drain();
  if (tally.all_done) return tally;
  votes_ = at::zeros({2}, at::kDouble);
  auto* vote = votes_.mutable_data_ptr<double>();
  vote[0] = is_done ? 1.0 : 0.0;
  vote[1] = has_failed ? 1.0 : 0.0;
  pending_ = channel_->start_all_reduce(votes_);
  return tally;
}

SaveAgreement::Tally SaveAgreement::drain() {
  if (!pending_) return {};
  pending_->wait();
  pending_.reset();
  const auto* vote = votes_.const_data_ptr<double>();
  return {.all_done = vote[0] >= channel_->size(), .any_failed = vote[1] > 0.0};
}

}  // namespace leda::checkpoint
