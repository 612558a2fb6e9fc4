// The options of a training job by name. docs/configuration.md is made from this table.
#pragma once

#include "config/option_table.hpp"
#include "training/options/job_options.hpp"

namespace leda::config {

// The job must outlive the table.
void bind_job_options(OptionTable& table, training::JobOptions& job);

// The text of configs/quickstart.cfg, which is what a program does without --config.
const char* embedded_job();

// Checks what a single value cannot show: names, ranges, options that contradict each other. Throws
// ErrorOnAllRanks(options).
void check_job_options(const training::JobOptions& job);

}  // namespace leda::config
