// The ledger of a run's time, RUN_FOLDER/ledger.jsonl: opened for a start of the run, and printed.
#pragma once

#include <filesystem>
#include <memory>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"
#include "logging/goodput_ledger.hpp"
#include "training/run/scheduler_job.hpp"

namespace leda::training {

// On other ranks than 0 it is off. The run folder is locked; the console outlives the ledger.
std::unique_ptr<logging::GoodputLedger> open_ledger(const std::filesystem::path& run_folder,
                                                    const SchedulerJob& scheduler_job,
                                                    const distributed::Communicator& communicator,
                                                    logging::Console& console);

// The table, where there is a ledger. Error(data) where it is of a later version.
void print_goodput(const std::filesystem::path& run_folder, logging::Console& console);

}  // namespace leda::training
