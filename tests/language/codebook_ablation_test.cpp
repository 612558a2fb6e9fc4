#include "language/codebook_ablation.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/choice.hpp"
#include "language/vocabulary.hpp"

namespace leda::language {
namespace {

at::Tensor codebook(bool normalised) { return make_codebook(load_vocabulary("builtin"), normalised, at::kFloat); }

at::Tensor lengths(const at::Tensor& rows) {
  return at::linalg_vector_norm(rows.to(at::kDouble), 2, at::IntArrayRef{1});
}

TEST(CodebookAblation, NoneChangesNothing) {
  const at::Tensor rows = codebook(true);
  EXPECT_TRUE(ablate_codebook(rows, CodebookAblation::none, 3).equal(rows));
}

TEST(CodebookAblation, ShuffledDealsTheSameRowsToOtherWords) {
  const at::Tensor rows = codebook(false), shuffled = ablate_codebook(rows, CodebookAblation::shuffled, 3);
  EXPECT_EQ(shuffled.scalar_type(), rows.scalar_type());
  // Rows of different words differ, so sorting by the first columns pairs them.
  const auto sorted = [](const at::Tensor& of) {
    std::vector<std::vector<float>> all;
    for (std::int64_t row = 0; row < of.size(0); ++row) {
      const float* const values = of.const_data_ptr<float>() + row * of.size(1);
      all.emplace_back(values, values + of.size(1));
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  EXPECT_EQ(sorted(shuffled), sorted(rows));
  EXPECT_LT(shuffled.eq(rows).all(1).sum().item<std::int64_t>(), 10);
}

TEST(CodebookAblation, RandomKeepsEveryLengthAndNoDirection) {
  const at::Tensor rows = codebook(false), random = ablate_codebook(rows, CodebookAblation::random, 3);
  EXPECT_LT((lengths(random) - lengths(rows)).abs().max().item<double>(), 1e-5);
  const at::Tensor cosines = (random * rows).sum(1).to(at::kDouble) / (lengths(random) * lengths(rows));
  // Independent directions of 384 numbers: deviation 1 / sqrt(384) = 0.051; words of the model share a direction.
  EXPECT_NEAR(cosines.square().mean().sqrt().item<double>(), 1 / std::sqrt(384.0), 0.01);
  const at::Tensor mean = (random / lengths(random).unsqueeze(1)).mean(0);
  EXPECT_LT(mean.norm().item<double>(), 0.05);
  EXPECT_GT((rows / lengths(rows).unsqueeze(1)).mean(0).norm().item<double>(), 0.15);
}

TEST(CodebookAblation, TheSeedDecidesAndNothingElse) {
  const at::Tensor rows = codebook(true);
  for (const CodebookAblation ablation : {CodebookAblation::shuffled, CodebookAblation::random}) {
    const at::Tensor once = ablate_codebook(rows, ablation, 5);
    EXPECT_TRUE(once.equal(ablate_codebook(rows, ablation, 5))) << base::name_of(ablation);
    EXPECT_FALSE(once.equal(ablate_codebook(rows, ablation, 6))) << base::name_of(ablation);
    EXPECT_NE(codebook_hash(once), codebook_hash(rows)) << base::name_of(ablation);
    EXPECT_NE(ablation_record(ablation, 5), ablation_record(ablation, 6));
  }
  EXPECT_EQ(ablation_record(CodebookAblation::none, 5), ablation_record(CodebookAblation::none, 6));
}

}  // namespace
}  // namespace leda::language
