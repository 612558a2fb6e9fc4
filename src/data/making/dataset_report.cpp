#include "data/making/dataset_report.hpp"

#include <ATen/core/Tensor.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <set>

#include "data/shards/rank_walk.hpp"
#include "data/shards/shard_catalogue.hpp"

namespace leda::data {
namespace {

struct HuRange {
  std::int64_t lowest = 0;
  std::int64_t highest = 0;
};

// Of the normal-dose images; each rank reads its share of the slices.
std::optional<HuRange> hu_range(const ShardCatalogue& catalogue, distributed::Communicator& communicator,
                                const std::function<bool()>& should_stop) {
  const at::Tensor range = at::full({2}, 0, at::TensorOptions().dtype(at::kLong));
  auto* const values = range.mutable_data_ptr<std::int64_t>();
  values[0] = INT16_MAX;
  values[1] = INT16_MIN;
  const auto visit = [&](std::int64_t id) {
    const at::Tensor image = catalogue.read_slice(id, {}).normal_dose_hu;
    const auto* first = image.const_data_ptr<std::int16_t>();
    const auto [lowest, highest] = std::minmax_element(first, first + image.numel());
    values[0] = std::min<std::int64_t>(values[0], *lowest);
    values[1] = std::max<std::int64_t>(values[1], *highest);
  };
  if (!walk_by_rank(catalogue.num_slices(), communicator, {.should_stop = should_stop}, visit)) return std::nullopt;
  const at::Tensor all = distributed::all_gather(communicator, range).contiguous();
  const auto* gathered = all.const_data_ptr<std::int64_t>();
  HuRange result{gathered[0], gathered[1]};
  for (int rank = 1; rank < communicator.size(); ++rank) {
    result.lowest = std::min(result.lowest, gathered[2 * rank]);
    result.highest = std::max(result.highest, gathered[2 * rank + 1]);
  }
  return result;
}

// "0.7 x 0.7 x 5", or all the values a data set has.
template <typename Value, typename Text>
std::string all_different(const ShardCatalogue& catalogue, Value value_of, Text text_of) {
  std::set<std::decay_t<decltype(value_of(catalogue.record(0)))>> values;
  for (std::int64_t id = 0; id < catalogue.num_slices(); ++id) values.insert(value_of(catalogue.record(id)));
  std::string text;
  for (const auto& value : values) text += (text.empty() ? "" : "; ") + text_of(value);
  return text;
}

std::uintmax_t bytes_of(const ShardCatalogue& catalogue) {
  std::uintmax_t bytes = 0;
  for (const ShardReader& shard : catalogue.shards()) bytes += std::filesystem::file_size(shard.path());
  return bytes;
}

std::string images_of(const ShardShape& shape) {
  return fmt::format("normal_dose{}{}{}", shape.has_low_dose ? ", low_dose" : "", shape.has_tissue ? ", tissue" : "",
                     shape.has_noise_free ? ", noise_free" : "");
}

}  // namespace

bool print_dataset_info(const std::string& folder, distributed::Communicator& communicator, logging::Console& console,
                        const std::function<bool()>& should_stop) {
  const ShardCatalogue catalogue = ShardCatalogue::open(folder);
  const std::optional<HuRange> range = hu_range(catalogue, communicator, should_stop);
  if (!range) return false;
  const auto row = [&](const char* name, const std::string& value) {
    console.print(fmt::format("{:<14}{}", name, value));
  };
  row("folder", folder);
  row("shards", fmt::to_string(catalogue.shards().size()));
  row("slices", fmt::to_string(catalogue.num_slices()));
  row("patients", fmt::to_string(catalogue.patients().size()));
  row("shape", fmt::format("{} x {}", catalogue.rows(), catalogue.columns()));
  row("images", images_of(catalogue.shape()));
  row("spacing mm",
      all_different(
          catalogue, [](const SliceRecord& r) { return r.spacing_mm; },
          [](const std::array<double, 3>& s) { return fmt::format("{:.6g} x {:.6g} x {:.6g}", s[0], s[1], s[2]); }));
  row("dose", all_different(
                  catalogue, [](const SliceRecord& r) { return r.dose_fraction; },
                  [](double dose) { return fmt::format("{:g}", dose); }));
  row("HU range", fmt::format("{} to {} (normal dose)", range->lowest, range->highest));
  row("bytes", fmt::to_string(bytes_of(catalogue)));
  row("fingerprint", catalogue.fingerprint());
  return true;
}

bool verify_dataset(const std::string& folder, distributed::Communicator& communicator, logging::Console& console,
                    const std::function<bool()>& should_stop) {
  const ShardCatalogue catalogue = ShardCatalogue::open(folder);
  const auto num_shards = static_cast<std::int64_t>(catalogue.shards().size());
  const auto verify = [&](std::int64_t shard) { catalogue.shards()[static_cast<std::size_t>(shard)].verify(); };
  if (!walk_by_rank(num_shards, communicator, {.should_stop = should_stop}, verify)) return false;
  communicator.barrier();
  console.print(fmt::format("{}: {} shards, {} slices, every chunk as it was written", folder, num_shards,
                            catalogue.num_slices()));
  return true;
}

}  // namespace leda::data
