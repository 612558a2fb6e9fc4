#include "training/run/run_ledger.hpp"

#include "base/process_start.hpp"
#include "distributed/core/host_name.hpp"
#include "logging/goodput_history.hpp"

namespace leda::training {
namespace {

constexpr const char* kName = "ledger.jsonl";

}  // namespace

std::unique_ptr<logging::GoodputLedger> open_ledger(const std::filesystem::path& run_folder,
                                                    const SchedulerJob& scheduler_job,
                                                    const distributed::Communicator& communicator,
                                                    logging::Console& console) {
  if (communicator.rank() != 0) return std::make_unique<logging::GoodputLedger>();
  const logging::AttemptFacts facts{.num_ranks = communicator.size(),
                                    .process_start = base::process_start_unix_seconds(),
                                    .host = distributed::host_name(),
                                    .scheduler_job = scheduler_job.id,
                                    .allocated = scheduler_job.start,
                                    .submitted = scheduler_job.submitted};
  return std::make_unique<logging::GoodputLedger>(run_folder / kName, facts, console);
}

void print_goodput(const std::filesystem::path& run_folder, logging::Console& console) {
  if (!console.is_root()) return;
  const auto attempts = logging::read_ledger(run_folder / kName);
  if (!attempts.empty()) console.print("\ntime that the run was given:\n" + goodput_table(attempts));
}

}  // namespace leda::training
