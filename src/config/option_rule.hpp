// What an option's value may be beyond its type, and whether a run that goes on may have another one.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace leda::config {

// Of numbers. The default takes every finite one.
struct Range {
  double lowest = -std::numeric_limits<double>::infinity();
  double highest = std::numeric_limits<double>::infinity();
  bool is_lowest_excluded = false;
  bool is_highest_excluded = false;
  std::int64_t divisor = 1;  // whole numbers are multiples of it

  bool contains(double value) const;
  // "1 or more", "above 0", "from 64 to 512, a multiple of 16"; empty where everything is allowed.
  std::string text() const;
};

Range at_least(double lowest);
Range above(double lowest);
Range between(double lowest, double highest);
Range from_to_below(double lowest, double highest);
Range multiple_of(std::int64_t divisor, Range range);

struct Rule {
  Range range{};                     // of a number, and of each number of a list
  std::vector<std::string> names{};  // of a text: one of these; empty: any
  // Of a text, and of each member of a list of them: throws base::Error that says what is wrong with it. May be empty.
  std::function<void(const std::string&)> check{};
  // Whether a run that is resumed may have another value: true for what changes no result that is already there.
  bool may_change_on_resume = false;
};

}  // namespace leda::config
