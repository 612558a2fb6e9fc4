// The trace of one phase of a job, opened by all ranks together.
#pragma once

#include <filesystem>
#include <memory>

#include "distributed/core/communicator.hpp"
#include "logging/console.hpp"
#include "logging/trace.hpp"
#include "training/options/job_options.hpp"

namespace leda::training {

// With logging.trace: clocks compared, and phase_folder/trace/rank_N.json, or rank_N_start_2.json where the phase has
// been started before. Otherwise a trace that writes nothing. Collective; the console must outlive the trace.
std::unique_ptr<logging::Trace> open_trace(const LoggingOptions& options, const std::filesystem::path& phase_folder,
                                           distributed::Communicator& communicator, logging::Console& console);

}  // namespace leda::training
