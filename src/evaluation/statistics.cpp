#include "evaluation/statistics.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/keyed_random.hpp"

namespace leda::evaluation {
namespace {

struct Group {
  std::string name{};
  double sum = 0.0;
  double count = 0.0;
};

std::vector<Group> grouped(std::span<const double> values, std::span<const std::string> names) {
  std::vector<Group> groups;
  for (std::size_t i = 0; i < values.size(); ++i) {
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& g) { return g.name == names[i]; });
    if (group == groups.end()) group = groups.insert(groups.end(), Group{.name = names[i]});
    group->sum += values[i];
    group->count += 1.0;
  }
  return groups;
}

// The value below which the share lies, linear between order statistics.
double percentile(const std::vector<double>& sorted, double share) {
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

double mean(std::span<const double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  double sum = 0.0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

double sample_deviation(std::span<const double> values) {
  if (values.size() < 2) return 0.0;
  const double centre = mean(values);
  double sum = 0.0;
  for (const double value : values) sum += (value - centre) * (value - centre);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

PairedDifference paired_difference(std::span<const double> differences, std::span<const std::string> groups,
                                   std::int64_t num_resamples) {
  const std::vector<Group> units = grouped(differences, groups);
  base::KeyedRandom random({base::key_of("paired bootstrap"), units.size(), static_cast<std::uint64_t>(num_resamples)});
  std::vector<double> means;
  means.reserve(static_cast<std::size_t>(num_resamples));
  for (std::int64_t resample = 0; resample < num_resamples; ++resample) {
    double sum = 0.0;
    double count = 0.0;
    for (std::size_t draw = 0; draw < units.size(); ++draw) {
      const Group& unit = units[random.below(units.size())];
      sum += unit.sum;
      count += unit.count;
    }
    means.push_back(sum / count);
  }
  std::sort(means.begin(), means.end());
  return {.mean = mean(differences),
          .low = percentile(means, 0.025),
          .high = percentile(means, 0.975),
          .num_resamples = num_resamples};
}

}  // namespace leda::evaluation
