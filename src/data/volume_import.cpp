#include "data/volume_import.hpp"

#include <ATen/ops/flip.h>
#include <fmt/format.h>

#include <filesystem>

#include "base/error.hpp"
#include "data/shard_set_writer.hpp"
#include "exchange/invesalius_project.hpp"
#include "exchange/raw_volume.hpp"
#include "storage/checksum.hpp"

namespace leda::data {
namespace {

[[noreturn]] void refuse_import(const std::string& what, const std::string& value, const std::string& remedy) {
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "import: " + what, .value = value, .why = "", .remedy = remedy});
}

exchange::Volume read_volume(const VolumeImportOptions& options) {
  if (options.raw_shape.empty() && options.raw_spacing_mm.empty()) {
    if (std::filesystem::path(options.input).extension() == ".inv3") {
      return exchange::read_invesalius_project(options.input);
    }
    refuse_import("the input is no InVesalius project", options.input,
                  "name a file that ends in .inv3, or give the shape and the spacing of a raw int16 volume");
  }
  if (options.raw_shape.size() != 3 || options.raw_spacing_mm.size() != 3) {
    refuse_import("a raw volume needs three sizes and three distances",
                  fmt::format("sizes [{}], distances [{}]", fmt::join(options.raw_shape, ", "),
                              fmt::join(options.raw_spacing_mm, ", ")),
                  "give slices,rows,columns and the mm between rows, columns and slices");
  }
  return exchange::read_raw_volume(options.input, {options.raw_shape[0], options.raw_shape[1], options.raw_shape[2]},
                                   {options.raw_spacing_mm[0], options.raw_spacing_mm[1], options.raw_spacing_mm[2]});
}

}  // namespace

bool import_volume(const VolumeImportOptions& options, distributed::Communicator& communicator,
                   logging::Console& console, const std::function<bool()>& should_stop) {
  if (options.slices_per_shard < 1) {
    refuse_import("the number of slices per shard is out of range", fmt::to_string(options.slices_per_shard),
                  "choose 1 or more");
  }
  exchange::Volume volume = read_volume(options);
  if (options.flips_rows) volume.hu = at::flip(volume.hu, {1});

  ShardSet set;
  set.folder = options.output;
  // The input's content, not its name: names of files can be names of people.
  set.parameters = {{"command", "import"},
                    {"input_checksum", storage::checksum_text(storage::file_checksum(options.input))},
                    {"spacing_mm", fmt::format("{}", fmt::join(volume.spacing_mm, ","))},
                    {"patient", options.patient},
                    {"series", options.series},
                    {"flips_rows", options.flips_rows ? "true" : "false"},
                    {"slices_per_shard", fmt::to_string(options.slices_per_shard)}};
  set.shape = {.rows = volume.hu.size(1), .columns = volume.hu.size(2)};
  set.num_slices = volume.hu.size(0);
  set.slices_per_shard = options.slices_per_shard;
  set.slice_at = [&](std::int64_t index) {
    Slice slice;
    slice.record = {.patient = options.patient,
                    .series = options.series,
                    .spacing_mm = volume.spacing_mm,
                    .position_mm = volume.spacing_mm[2] * static_cast<double>(index),
                    .dose_fraction = 1.0};
    slice.normal_dose_hu = volume.hu.select(0, index);
    return slice;
  };
  set.should_stop = should_stop;
  return !write_shard_set(set, communicator, console).empty();
}

}  // namespace leda::data
