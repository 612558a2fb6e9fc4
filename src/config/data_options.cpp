#include "config/data_options.hpp"

#include <c10/util/Exception.h>

#include <algorithm>

namespace leda::config {
namespace {

const std::vector<ProgramDescription>& command_descriptions() {
  static const std::vector<ProgramDescription> descriptions{
      {.name = "leda_data phantom",
       .summary = "writes labelled phantoms at normal and low dose",
       .description = "Each patient has another anatomy; the same options give the same files on any number of ranks.",
       .examples = {{"leda_data phantom --data.output phantoms --data.num_patients 24 --data.size 128", ""}}},
      {.name = "leda_data import",
       .summary = "turns another program's volume into shards",
       .description = "Only the normal dose is written; names of people or files do not enter the shards.",
       .examples = {{"leda_data import --data.input Cranium.inv3 --data.output head", ""}}},
      {.name = "leda_data simulate",
       .summary = "adds low-dose partners to a data set by noise insertion",
       .description = "The noise of a slice depends on the seed, its patient, series and position alone.",
       .examples = {{"leda_data simulate --data.input head --data.output head_quarter --data.dose_fraction 0.25", ""}}},
      {.name = "leda_data split",
       .summary = "divides a data set into train, validation and test",
       .description = "By patients, or, of a single patient, by blocks of slices with gaps between them.",
       .examples = {{"leda_data split --data.input head_quarter --data.output head_sets --data.gap 5", ""}}},
      {.name = "leda_data info",
       .summary = "says what a data set holds",
       .description = "Nothing is written.",
       .examples = {{"leda_data info --data.folder head_sets/train", ""}}},
      {.name = "leda_data verify",
       .summary = "checks every stored byte of a data set",
       .description = "Ends with code 11 where one is not as it was written, naming shard and slice.",
       .examples = {{"leda_data verify --data.folder head_sets/train", ""}}},
  };
  return descriptions;
}

}  // namespace

ProgramDescription data_program() {
  ProgramDescription program{.name = "leda_data",
                             .summary = "makes and checks data sets",
                             .description = "leda_data COMMAND --help says what a command does and lists its options.",
                             .examples = {{"mpirun -np 2 leda_data COMMAND --SECTION.NAME VALUE", ""}}};
  for (const std::string& command : data_commands()) {
    program.commands.push_back({command, data_command(command).summary});
  }
  return program;
}

std::vector<std::string> data_commands() {
  std::vector<std::string> commands;
  for (const ProgramDescription& description : command_descriptions()) {
    commands.push_back(description.name.substr(description.name.find(' ') + 1));
  }
  return commands;
}

ProgramDescription data_command(const std::string& command) {
  const auto& all = command_descriptions();
  const auto found = std::find_if(all.begin(), all.end(), [&](const ProgramDescription& description) {
    return description.name == "leda_data " + command;
  });
  TORCH_INTERNAL_ASSERT(found != all.end(), command);
  return *found;
}

void bind_phantom_options(OptionTable& table, data::PhantomDatasetOptions& options) {
  table.section("data", data_command("phantom").summary);
  table.add("data.output", "folder of the new data set", &options.folder);
  table.add("data.num_patients", "patients, each another anatomy", &options.num_patients, {.range = at_least(1)});
  table.add("data.first_patient", "number of the first: other numbers, other patients", &options.first_patient,
            {.range = at_least(0)});
  table.add("data.slices_per_patient", "neighbouring slices of each patient", &options.slices_per_patient,
            {.range = at_least(1)});
  table.add("data.slices_per_shard", "slices in one file", &options.slices_per_shard, {.range = at_least(1)});
  table.add("data.size", "pixels per side: 64 to 512, a multiple of 16", &options.size,
            {.range = multiple_of(16, between(64, 512))});
  table.add("data.field_of_view_mm", "side of the image", &options.field_of_view_mm, {.range = above(0)});
  table.add("data.dose_fraction", "dose of the low-dose partner", &options.dose_fraction,
            {.range = {.lowest = 0.0, .highest = 1.0, .is_lowest_excluded = true}});
  table.add("data.photons_per_ray", "photons per ray at normal dose", &options.photons_per_ray_full_dose,
            {.range = above(0)});
  table.add("data.electronic_variance", "electronic noise, photons squared", &options.electronic_variance,
            {.range = at_least(0)});
  table.add("data.seed", "anatomy and noise", &options.seed);
}

void bind_import_options(OptionTable& table, data::VolumeImportOptions& options) {
  table.section("data", data_command("import").summary);
  table.add("data.input", "an InVesalius project (.inv3), or a file of little-endian int16 HU", &options.input);
  table.add("data.output", "folder of the new data set", &options.output);
  table.add("data.patient", "pseudonym", &options.patient);
  table.add("data.series", "pseudonym", &options.series);
  table.add("data.slices_per_shard", "slices in one file", &options.slices_per_shard, {.range = at_least(1)});
  table.add("data.raw_shape", "slices,rows,columns of a raw file", &options.raw_shape, {.range = at_least(1)});
  table.add("data.raw_spacing_mm", "mm between rows,columns,slices of a raw file", &options.raw_spacing_mm,
            {.range = above(0)});
  table.add("data.flips_rows", "turn the slices upside down", &options.flips_rows);
}

void bind_simulate_options(OptionTable& table, data::DoseSimulationOptions& options) {
  table.section("data", data_command("simulate").summary);
  table.add("data.input", "folder of a data set; it stays as it is", &options.input);
  table.add("data.output", "folder of the new data set", &options.output);
  table.add("data.dose_fraction", "dose of the low-dose partner", &options.dose.dose_fraction,
            {.range = {.lowest = 0.0, .highest = 1.0, .is_lowest_excluded = true}});
  table.add("data.photons_per_ray", "photons per ray at normal dose", &options.dose.photons_per_ray_full_dose,
            {.range = above(0)});
  table.add("data.electronic_variance", "electronic noise, photons squared", &options.dose.electronic_variance,
            {.range = at_least(0)});
  table.add("data.water_mu_per_mm", "attenuation of water", &options.dose.water_mu_per_mm, {.range = above(0)});
  table.add("data.minimum_photons", "smallest reading before the logarithm", &options.dose.minimum_photons,
            {.range = above(0)});
  table.add("data.seed", "noise", &options.seed);
}

void bind_split_options(OptionTable& table, data::SplitOptions& options) {
  table.section("data", data_command("split").summary);
  table.add("data.input", "folder of a data set; it stays as it is", &options.input);
  table.add("data.output", "folder that gets train/, validation/ and test/", &options.output);
  table.add("data.fractions", "shares of train,validation,test: of the patients, or of a single patient's slices",
            &options.fractions, {.range = at_least(0)});
  table.add("data.patients", "instead: numbers of patients for train,validation,test", &options.patients,
            {.range = at_least(0)});
  table.add("data.slices", "instead: slice ids for train,validation,test, FIRST:LAST joined by +, - for none",
            &options.slices);
  table.add("data.gap", "slices left out between blocks of one patient", &options.gap, {.range = at_least(0)});
  table.add("data.seed", "which patients go where", &options.seed);
  table.add("data.slices_per_shard", "slices in one file", &options.slices_per_shard, {.range = at_least(1)});
}

void bind_folder_option(OptionTable& table, std::string& folder) {
  table.section("data", "the data set");
  table.add("data.folder", "folder of a data set", &folder);
}

}  // namespace leda::config
