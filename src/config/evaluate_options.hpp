// leda_evaluate's options, and what it says of itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/option_table.hpp"
#include "config/program_description.hpp"

namespace leda::config {

struct EvaluateOptions {
  std::string data_folder = "data/quickstart";
  std::vector<std::string> denoisers;
  std::string output = "evaluation";
  std::string picture_window = "abdomen";
  std::int64_t max_tuning_slices = 6;
  std::string autoencoder;
  std::int64_t top_words = 5;
};

ProgramDescription evaluate_program();

// The options must outlive the table.
void bind_evaluate_options(OptionTable& table, EvaluateOptions& options);

}  // namespace leda::config
