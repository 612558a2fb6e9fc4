#include "distributed/bucket_plan.hpp"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include <initializer_list>

#include "base/error.hpp"
#include "tests/support/refusal.hpp"

namespace leda::distributed {
namespace {

using Indices = std::vector<std::vector<int>>;

std::vector<NamedParameter> parameters_of_bytes(std::initializer_list<std::int64_t> sizes) {
  std::vector<NamedParameter> parameters;
  for (const std::int64_t bytes : sizes) parameters.push_back({"p", at::empty({bytes / 4}, at::kFloat)});
  return parameters;
}

TEST(BucketPlan, FillsInReverseOrderWithASmallFirstBucket) {
  const auto parameters = parameters_of_bytes({40, 40, 40, 40, 40, 8, 8});
  EXPECT_EQ(plan_buckets(parameters, {.bucket_bytes = 80, .first_bucket_bytes = 16}).parameter_indices,
            (Indices{{6, 5}, {4, 3}, {2, 1}, {0}}));
}

TEST(BucketPlan, WhatIsTooLargeTravelsAlone) {
  const auto parameters = parameters_of_bytes({4, 400, 4, 4});
  EXPECT_EQ(plan_buckets(parameters, {.bucket_bytes = 16, .first_bucket_bytes = 4}).parameter_indices,
            (Indices{{3}, {2}, {1}, {0}}));
}

TEST(BucketPlan, TypesDoNotShareABucket) {
  auto parameters = parameters_of_bytes({8, 8, 8});
  parameters[1].tensor = parameters[1].tensor.to(at::kDouble);
  EXPECT_EQ(plan_buckets(parameters, {}).parameter_indices, (Indices{{2}, {1}, {0}}));
}

TEST(BucketPlan, NoParametersNoBuckets) { EXPECT_EQ(plan_buckets({}, {}).text(), "[]"); }

TEST(BucketPlan, SurvivesItsText) {
  const BucketPlan plan{{{6, 5}, {4, 3, 2}, {0, 1}}};
  EXPECT_EQ(plan.text(), "[[6,5],[4,3,2],[0,1]]");
  EXPECT_EQ(BucketPlan::from_text(plan.text()), plan);
  EXPECT_EQ(BucketPlan::from_text(plan.text()).hash(), plan.hash());
  EXPECT_NE((BucketPlan{{{5, 6}, {4, 3, 2}, {0, 1}}}).hash(), plan.hash());
}

TEST(BucketPlan, OtherTextsAreDataErrors) {
  for (const char* text : {"", "[[1,2", "{\"a\":1}", "[1,2]", "[[\"a\"]]"}) {
    SCOPED_TRACE(text);
    test::refusal_of(base::ExitCode::data, [&] { BucketPlan::from_text(text); });
  }
}

}  // namespace
}  // namespace leda::distributed
