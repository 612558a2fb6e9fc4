#include "config/option_rule.hpp"

#include <fmt/format.h>

#include <cmath>

namespace leda::config {

bool Range::contains(double value) const {
  if (!std::isfinite(value)) return false;
  if (is_lowest_excluded ? value <= lowest : value < lowest) return false;
  if (is_highest_excluded ? value >= highest : value > highest) return false;
  return divisor == 1 || std::fmod(value, static_cast<double>(divisor)) == 0.0;
}

std::string Range::text() const {
  std::string bounds;
  if (std::isfinite(lowest) && std::isfinite(highest)) {
    const char* const highest_text = is_highest_excluded ? ", below" : is_lowest_excluded ? ", at most" : " to";
    bounds = fmt::format("{} {}{} {}", is_lowest_excluded ? "above" : "from", lowest, highest_text, highest);
  } else if (std::isfinite(lowest)) {
    bounds = is_lowest_excluded ? fmt::format("above {}", lowest) : fmt::format("{} or more", lowest);
  }
  if (divisor == 1) return bounds;
  return fmt::format("{}{}a multiple of {}", bounds, bounds.empty() ? "" : ", ", divisor);
}

Range at_least(double lowest) { return {.lowest = lowest}; }
Range above(double lowest) { return {.lowest = lowest, .is_lowest_excluded = true}; }
Range between(double lowest, double highest) { return {.lowest = lowest, .highest = highest}; }
Range from_to_below(double lowest, double highest) {
  return {.lowest = lowest, .highest = highest, .is_highest_excluded = true};
}
Range multiple_of(std::int64_t divisor, Range range) {
  range.divisor = divisor;
  return range;
}

}  // namespace leda::config
