#include "language/contrast.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include "base/error.hpp"
#include "ct/tissue.hpp"

namespace leda::language {
namespace {

constexpr std::uint8_t kSoft = static_cast<std::uint8_t>(ct::Tissue::soft);
constexpr std::uint8_t kBlood = static_cast<std::uint8_t>(ct::Tissue::blood);
constexpr std::uint8_t kBone = static_cast<std::uint8_t>(ct::Tissue::bone);

// A slice of soft tissue in which `num_blood` of 100 pixels are as bright as enhanced blood.
at::Tensor slice_with(std::int64_t num_blood) {
  at::Tensor tissue = at::full({100}, kSoft, at::kByte);
  tissue.slice(0, 0, num_blood) = kBlood;
  return tissue.reshape({1, 10, 10});
}

std::int64_t count(const at::Tensor& tissue, std::uint8_t label) { return tissue.eq(label).sum().item<std::int64_t>(); }

TEST(Contrast, EnhancedScansKeepTheirLabels) {
  EXPECT_TRUE(with_contrast(slice_with(5), Contrast::enhanced).equal(slice_with(5)));
}

TEST(Contrast, BareScansHaveBoneForBlood) {
  const at::Tensor tissue = with_contrast(slice_with(60), Contrast::none);
  EXPECT_EQ(tissue.scalar_type(), at::kByte);
  EXPECT_EQ(count(tissue, kBone), 60);
  EXPECT_EQ(count(tissue, kBlood), 0);
  EXPECT_EQ(count(tissue, kSoft), 40);
}

TEST(Contrast, AutoDecidesSliceBySlice) {
  EXPECT_EQ(count(with_contrast(slice_with(20), Contrast::automatic), kBlood), 20);
  EXPECT_EQ(count(with_contrast(slice_with(19), Contrast::automatic), kBone), 19);
  const at::Tensor batch = slice_with(50).expand({2, 10, 10}).clone();
  batch[1] = slice_with(3)[0];
  const at::Tensor tissue = with_contrast(batch, Contrast::automatic);
  EXPECT_EQ(count(tissue[0], kBlood), 50);
  EXPECT_EQ(count(tissue[1], kBone), 3);
  EXPECT_TRUE(
      with_contrast(at::zeros({1, 4, 4}, at::kByte), Contrast::automatic).equal(at::zeros({1, 4, 4}, at::kByte)));
}

}  // namespace
}  // namespace leda::language
