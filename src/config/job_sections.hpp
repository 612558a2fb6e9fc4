// One function a section of a training job's options: a line for each option holds its name, its help, the field that
// it sets, what its values may be, and whether a run that is resumed may have another. The job must outlive the table.
#pragma once

#include "config/option_table.hpp"
#include "training/options/job_options.hpp"

namespace leda::config {

void bind_run(OptionTable& table, training::JobOptions& job);
void bind_data(OptionTable& table, training::JobOptions& job);
void bind_vocabulary(OptionTable& table, training::JobOptions& job);
void bind_words(OptionTable& table, training::JobOptions& job);
void bind_autoencoder(OptionTable& table, training::JobOptions& job);
void bind_discriminator(OptionTable& table, training::JobOptions& job);
void bind_denoiser(OptionTable& table, training::JobOptions& job);
void bind_leda(OptionTable& table, training::JobOptions& job);
void bind_training(OptionTable& table, training::JobOptions& job);
void bind_checkpoint(OptionTable& table, training::JobOptions& job);
void bind_distributed(OptionTable& table, training::JobOptions& job);
void bind_logging(OptionTable& table, training::JobOptions& job);
void bind_evaluation(OptionTable& table, training::JobOptions& job);

}  // namespace leda::config
