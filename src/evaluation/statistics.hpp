// Means and spreads of the figures in a table. Pure functions, in a fixed order of summation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace leda::evaluation {

// NaN for no values.
double mean(std::span<const double> values);
// Square root of sum((x - mean)^2) / (n - 1); 0 for fewer than two values.
double sample_deviation(std::span<const double> values);

// Mean of paired differences with a percentile bootstrap interval (Efron, Tibshirani 1993, section 13.3).
struct PairedDifference {
  double mean = 0.0;
  double low = 0.0;   // 2.5 % percentile of the resampled means
  double high = 0.0;  // 97.5 %
  std::int64_t num_resamples = 0;
};

// With fewer patients than this, slices are drawn instead of patients: an interval over three patients means little.
inline constexpr std::size_t kMinPatientsToDraw = 5;

// Units are drawn with replacement: whole groups of equal `group` (patients, say), or single values where every value
// is a group of its own. The draws depend on nothing but the numbers of groups and resamples.
PairedDifference paired_difference(std::span<const double> differences, std::span<const std::string> groups,
                                   std::int64_t num_resamples = 2000);

}  // namespace leda::evaluation
