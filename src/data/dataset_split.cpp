#include "data/dataset_split.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <set>

#include "base/error.hpp"
#include "base/keyed_random.hpp"
#include "data/shard_set_writer.hpp"

namespace leda::data {
namespace {

using SliceIds = std::vector<std::int64_t>;
using Sets = std::array<SliceIds, 3>;
using Counts = std::array<std::int64_t, 3>;

[[noreturn]] void refuse_split(const std::string& what, const std::string& value, const std::string& remedy) {
  throw base::ErrorOnAllRanks(base::ExitCode::options,
                              {.what = "split: " + what, .value = value, .why = "", .remedy = remedy});
}

// Shares of `total` by largest remainder: they add up to it, and no wanted set stays empty if that can be avoided.
Counts counts_of_fractions(const std::vector<double>& fractions, std::int64_t total) {
  double sum = 0.0;
  for (const double fraction : fractions) sum += fraction >= 0.0 ? fraction : NAN;
  if (fractions.size() != 3 || !(sum > 0.0) || !std::isfinite(sum)) {
    refuse_split("fractions must be three numbers, none negative, not all zero",
                 fmt::format("{}", fmt::join(fractions, ",")), "0.8,0.1,0.1 for instance");
  }
  Counts counts{};
  std::array<double, 3> wanted{};
  for (std::size_t i = 0; i < 3; ++i) {
    wanted[i] = fractions[i] / sum * static_cast<double>(total);
    counts[i] = static_cast<std::int64_t>(std::floor(wanted[i]));
    if (fractions[i] > 0.0) counts[i] = std::max<std::int64_t>(counts[i], 1);
  }
  const auto surplus = [&](std::size_t i) { return static_cast<double>(counts[i]) - wanted[i]; };
  while (std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) != total) {
    const bool is_too_much = std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) > total;
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < 3; ++i) {
      if (is_too_much ? surplus(i) > surplus(chosen) : surplus(i) < surplus(chosen)) chosen = i;
    }
    counts[chosen] += is_too_much ? -1 : 1;
  }
  return counts;
}

std::int64_t number_of(std::string_view text, const std::string& range) {
  std::int64_t value = -1;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc() || end != text.data() + text.size() || value < 0) {
    refuse_split("a range of slices cannot be read", range,
                 "FIRST:LAST, the last slice excluded, several joined by +, or - for none");
  }
  return value;
}

void append_range(const std::string& range, std::int64_t num_slices, SliceIds& ids) {
  const std::size_t colon = range.find(':');
  if (colon == std::string::npos) number_of("", range);
  const std::int64_t first = number_of(std::string_view(range).substr(0, colon), range);
  const std::int64_t last = number_of(std::string_view(range).substr(colon + 1), range);
  if (first >= last || last > num_slices) {
    refuse_split("a range of slices does not fit the data set", range, fmt::format("slices are 0:{}", num_slices));
  }
  for (std::int64_t id = first; id < last; ++id) ids.push_back(id);
}

// "0:25+47:67", or "-".
SliceIds ids_of_ranges(const std::string& ranges, std::int64_t num_slices) {
  SliceIds ids;
  if (ranges == "-") return ids;
  for (std::size_t start = 0; start <= ranges.size();) {
    const std::size_t plus = std::min(ranges.find('+', start), ranges.size());
    append_range(ranges.substr(start, plus - start), num_slices, ids);
    start = plus + 1;
  }
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    refuse_split("ranges of one set overlap", ranges, "name every slice once");
  }
  return ids;
}

// Blocks of one patient must keep the gap, blocks of different patients may touch.
void check_gap(const ShardCatalogue& catalogue, const Sets& sets, std::int64_t gap) {
  std::vector<std::pair<std::int64_t, std::size_t>> members;  // slice id, set
  for (std::size_t set = 0; set < 3; ++set) {
    for (const std::int64_t id : sets[set]) members.emplace_back(id, set);
  }
  std::sort(members.begin(), members.end());
  for (std::size_t i = 1; i < members.size(); ++i) {
    const auto& [before, first_set] = members[i - 1];
    const auto& [after, second_set] = members[i];
    if (first_set == second_set) continue;
    const bool is_one_patient = catalogue.record(before).patient == catalogue.record(after).patient;
    const std::int64_t needed = is_one_patient ? gap : 0;
    if (after - before - 1 < needed) {
      refuse_split(fmt::format("{} and {} are too close", kSplitNames[first_set], kSplitNames[second_set]),
                   fmt::format("{} slices between {} and {}, {} needed", after - before - 1, before, after, needed),
                   "leave a larger gap: neighbouring slices of a patient show the same anatomy");
    }
  }
}

Sets split_by_ranges(const ShardCatalogue& catalogue, const SplitOptions& options) {
  if (options.slices.size() != 3) {
    refuse_split("ranges are needed for all three sets", fmt::format("{}", fmt::join(options.slices, ",")),
                 "0:70,75:85,90:108 for instance; several ranges are joined by +, - is for none");
  }
  Sets sets;
  for (std::size_t i = 0; i < 3; ++i) sets[i] = ids_of_ranges(options.slices[i], catalogue.num_slices());
  check_gap(catalogue, sets, options.gap);
  return sets;
}

Sets split_by_patients(const ShardCatalogue& catalogue, const Counts& counts, std::uint64_t seed) {
  std::vector<std::string> patients = catalogue.patients();
  // Sorted first, so that the draw does not depend on the order of the shards; then Fisher and Yates.
  std::sort(patients.begin(), patients.end());
  base::KeyedRandom random({base::key_of("split by patient"), seed});
  for (std::size_t i = patients.size() - 1; i > 0; --i) std::swap(patients[i], patients[random.below(i + 1)]);
  Sets sets;
  auto next = patients.begin();
  for (std::size_t set = 0; set < 3; ++set) {
    const std::set<std::string> chosen(next, next + counts[set]);
    next += counts[set];
    for (std::int64_t id = 0; id < catalogue.num_slices(); ++id) {
      if (chosen.contains(catalogue.record(id).patient)) sets[set].push_back(id);
    }
  }
  return sets;
}

Counts counts_of_patients(const std::vector<int>& wanted, std::int64_t available) {
  const bool is_valid = wanted.size() == 3 && *std::min_element(wanted.begin(), wanted.end()) >= 0;
  const std::int64_t total = std::accumulate(wanted.begin(), wanted.end(), std::int64_t{0});
  if (!is_valid || total < 1 || total > available) {
    refuse_split("the numbers of patients cannot be met", fmt::format("{}", fmt::join(wanted, ",")),
                 fmt::format("three numbers for train, validation and test; the data set has {} patients", available));
  }
  return {wanted[0], wanted[1], wanted[2]};
}

// Blocks of one patient along the slice axis: train, gap, validation, gap, test.
Sets split_by_blocks(const ShardCatalogue& catalogue, const SplitOptions& options) {
  SliceIds by_position(static_cast<std::size_t>(catalogue.num_slices()));
  std::iota(by_position.begin(), by_position.end(), 0);
  std::stable_sort(by_position.begin(), by_position.end(), [&](std::int64_t a, std::int64_t b) {
    return catalogue.record(a).position_mm < catalogue.record(b).position_mm;
  });
  const auto num_sets =
      std::count_if(options.fractions.begin(), options.fractions.end(), [](double f) { return f > 0.0; });
  const std::int64_t usable = catalogue.num_slices() - options.gap * (num_sets - 1);
  if (options.gap < 0 || usable < num_sets) {
    refuse_split("too few slices for blocks with gaps",
                 fmt::format("{} slices, {} blocks, gap {}", catalogue.num_slices(), num_sets, options.gap),
                 "choose a smaller gap or fewer sets");
  }
  const Counts counts = counts_of_fractions(options.fractions, usable);
  Sets sets;
  auto next = by_position.begin();
  for (std::size_t set = 0; set < 3; ++set) {
    if (counts[set] == 0) continue;
    if (next != by_position.begin()) next += options.gap;
    sets[set].assign(next, next + counts[set]);
    next += counts[set];
    std::sort(sets[set].begin(), sets[set].end());
  }
  return sets;
}

}  // namespace

Sets plan_split(const ShardCatalogue& catalogue, const SplitOptions& options) {
  if (!options.slices.empty()) return split_by_ranges(catalogue, options);
  const auto num_patients = static_cast<std::int64_t>(catalogue.patients().size());
  if (!options.patients.empty()) {
    return split_by_patients(catalogue, counts_of_patients(options.patients, num_patients), options.seed);
  }
  if (num_patients == 1) return split_by_blocks(catalogue, options);
  const Counts counts = counts_of_fractions(options.fractions, num_patients);
  for (std::size_t i = 0; i < 3; ++i) {
    if (options.fractions[i] > 0.0 && counts[i] == 0) {
      refuse_split("too few patients for the wanted sets", fmt::to_string(num_patients), "ask for fewer sets");
    }
  }
  return split_by_patients(catalogue, counts, options.seed);
}

bool split_dataset(const SplitOptions& options, distributed::Communicator& communicator, logging::Console& console,
                   const std::function<bool()>& should_stop) {
  if (options.slices_per_shard < 1) {
    refuse_split("the number of slices per shard is out of range", fmt::to_string(options.slices_per_shard),
                 "1 or more");
  }
  const ShardCatalogue catalogue = ShardCatalogue::open(options.input);
  const Sets sets = plan_split(catalogue, options);
  for (std::size_t i = 0; i < 3; ++i) {
    if (sets[i].empty()) continue;
    const SliceIds& ids = sets[i];
    ShardSet set;
    set.folder = std::filesystem::path(options.output) / kSplitNames[i];
    set.parameters = {{"command", "split"},
                      {"input_fingerprint", catalogue.fingerprint()},
                      {"set", kSplitNames[i]},
                      {"fractions", fmt::format("{}", fmt::join(options.fractions, ","))},
                      {"patients", fmt::format("{}", fmt::join(options.patients, ","))},
                      {"slices", fmt::format("{}", fmt::join(options.slices, ","))},
                      {"gap", fmt::to_string(options.gap)},
                      {"seed", fmt::to_string(options.seed)},
                      {"slices_per_shard", fmt::to_string(options.slices_per_shard)}};
    set.shape = catalogue.shape();
    set.num_slices = static_cast<std::int64_t>(ids.size());
    set.slices_per_shard = options.slices_per_shard;
    set.slice_at = [&](std::int64_t index) {
      return catalogue.read_slice(ids[static_cast<std::size_t>(index)],
                                  {.low_dose = true, .tissue = true, .noise_free = true});
    };
    set.should_stop = should_stop;
    if (write_shard_set(set, communicator, console).empty()) return false;
  }
  return true;
}

}  // namespace leda::data
