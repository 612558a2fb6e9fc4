#include "programs/stoppable_work.hpp"

#include "base/stop_signal.hpp"
#include "distributed/core/stop_agreement.hpp"

namespace leda::programs {

base::ExitCode run_stoppable(const std::function<bool(const std::function<bool()>& should_stop)>& work,
                             const std::string& said, distributed::Communicator& communicator,
                             logging::Console& console) {
  distributed::StopAgreement agreement(communicator);
  base::StopRequest stop = base::StopRequest::none;
  const bool is_done = work([&] {
    stop = agreement.exchange(base::requested_stop());
    return stop != base::StopRequest::none;
  });
  agreement.drain();  // what is under way may not outlive the agreement
  if (is_done) return base::ExitCode::finished;
  console.info(said);
  return stop == base::StopRequest::run_again ? base::ExitCode::saved_run_again : base::ExitCode::saved_do_not_restart;
}

}  // namespace leda::programs
