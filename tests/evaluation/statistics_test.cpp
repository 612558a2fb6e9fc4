#include "evaluation/statistics.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/keyed_random.hpp"

namespace leda::evaluation {
namespace {

TEST(Statistics, MeanAndSampleDeviation) {
  const std::vector<double> values{2.0, 4.0, 9.0};
  EXPECT_DOUBLE_EQ(mean(values), 5.0);
  EXPECT_DOUBLE_EQ(sample_deviation(values), std::sqrt(13.0));
  EXPECT_EQ(sample_deviation(std::vector<double>{3.0}), 0.0);
  EXPECT_TRUE(std::isnan(mean({})));
}

TEST(Statistics, BootstrapIntervalIsThatOfANormalMean) {
  base::KeyedRandom random({11});
  std::vector<double> differences;
  std::vector<std::string> groups;
  for (int i = 0; i < 400; ++i) {
    differences.push_back(1.0 + random.normal());
    groups.push_back(std::to_string(i));
  }
  const PairedDifference found = paired_difference(differences, groups, 4000);
  const double half_width = 1.96 * sample_deviation(differences) / 20.0;
  EXPECT_DOUBLE_EQ(found.mean, mean(differences));
  EXPECT_NEAR(found.low, found.mean - half_width, 0.1 * half_width);
  EXPECT_NEAR(found.high, found.mean + half_width, 0.1 * half_width);
}

TEST(Statistics, BootstrapDrawsWholeGroups) {
  // Two groups, each of one value: a resample's mean is 0, 0.5 or 1, whatever the number of values.
  std::vector<double> differences(50, 0.0);
  differences.resize(100, 1.0);
  std::vector<std::string> groups(50, "a");
  groups.resize(100, "b");
  const PairedDifference found = paired_difference(differences, groups);
  EXPECT_EQ(found.low, 0.0);
  EXPECT_EQ(found.high, 1.0);
  EXPECT_EQ(found.mean, 0.5);
}

}  // namespace
}  // namespace leda::evaluation
