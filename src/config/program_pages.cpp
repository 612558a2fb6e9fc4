#include "config/program_pages.hpp"

#include "config/data_options.hpp"
#include "config/evaluate_options.hpp"
#include "config/explain_options.hpp"
#include "config/job_option_table.hpp"

namespace leda::config {
namespace {

ProgramPages pages_of(ProgramDescription program, const OptionTable& table) {
  return {.program = std::move(program), .sections = table.sections(), .options = table.descriptions()};
}

// Of a program whose options are a struct of type Options.
template <typename Options>
ProgramPages pages_of(ProgramDescription program, void (*bind)(OptionTable&, Options&)) {
  Options options;
  OptionTable table;
  bind(table, options);
  return pages_of(std::move(program), table);
}

ProgramPages train_pages() {
  training::JobOptions job;
  OptionTable table;
  bind_job_options(table, job);
  table.parse_text(embedded_job(), "the embedded job");
  return pages_of(train_program(), table);
}

}  // namespace

std::vector<ProgramPages> all_program_pages() {
  return {train_pages(),
          pages_of(evaluate_program(), bind_evaluate_options),
          pages_of(explain_program(), bind_explain_options),
          {.program = data_program()},
          pages_of(data_command("phantom"), bind_phantom_options),
          pages_of(data_command("import"), bind_import_options),
          pages_of(data_command("simulate"), bind_simulate_options),
          pages_of(data_command("split"), bind_split_options),
          pages_of(data_command("info"), bind_folder_option),
          pages_of(data_command("verify"), bind_folder_option)};
}

}  // namespace leda::config
