#include "training/run/stop_requests.hpp"

namespace leda::training {

base::StopRequest StopRequests::requested() const {
  const base::StopRequest by_signal = base::requested_stop();
  return by_signal == base::StopRequest::none && time_limit_.is_near() ? base::StopRequest::run_again : by_signal;
}

base::StopRequest StopRequests::agreed() const {
  distributed::StopAgreement agreement(communicator_);
  agreement.exchange(requested());
  return agreement.drain();
}

}  // namespace leda::training
