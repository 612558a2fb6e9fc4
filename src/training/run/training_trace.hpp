// The trace of one training of a job, opened by all ranks together.
#pragma once

#include <filesystem>
#include <memory>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"
#include "logging/trace.hpp"
#include "training/options/job_options.hpp"

namespace leda::training {

// With logging.trace: clocks compared, and training_folder/trace/rank_N.json, or rank_N_start_2.json where the training
// has been started before. Otherwise a trace that writes nothing. Collective; the console must outlive the trace.
std::unique_ptr<logging::Trace> open_trace(const LoggingOptions& options, const std::filesystem::path& training_folder,
                                           distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::training
