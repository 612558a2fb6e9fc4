// leda_explain's options, and what it says of itself.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/option_table.hpp"
#include "config/program_description.hpp"

namespace leda::config {

struct ExplainProgramOptions {
  std::string data_folder = "data/quickstart/test";
  std::string autoencoder;
  std::string vocabulary = "builtin";
  std::string denoiser;
  std::string output = "explanation";
  std::vector<int> slices;
  std::string patient;
  std::string series;
  std::vector<int> levels;
  std::string window = "abdomen";
  std::int64_t legend_length = 16;
  std::int64_t top_words = 5;
  std::int64_t max_pictures = 12;
  std::int64_t max_positions = 100;
};

ProgramDescription explain_program();

// The options must outlive the table.
void bind_explain_options(OptionTable& table, ExplainProgramOptions& options);

}  // namespace leda::config
