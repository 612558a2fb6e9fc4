// The options of a training job by name, and what leda_dist_train says of itself. Each option stands in the file of its
// section (job_sections.hpp); docs/configuration.md is made from this table.
#pragma once

#include "config/option_table.hpp"
#include "config/program_description.hpp"
#include "training/options/job_options.hpp"
#include "training/run/run_options_file.hpp"

namespace leda::config {

ProgramDescription train_program();

// The job must outlive the table.
void bind_job_options(OptionTable& table, training::JobOptions& job);

// All options with their values now, to be kept with the run.
training::OptionValues option_values(const OptionTable& table);

// The text of configs/quickstart.cfg, which is what a program does without --config.
const char* embedded_job();

// Checks what a single value cannot show: options that contradict each other. Throws ErrorOnAllRanks(options).
void check_job_options(const training::JobOptions& job);

}  // namespace leda::config
