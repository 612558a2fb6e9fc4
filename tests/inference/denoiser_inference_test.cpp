// What every program gets of a denoiser's file: HU in, HU out, whatever the size and number of slices.
#include "inference/denoiser_inference.hpp"

#include <ATen/TensorOperators.h>
#include <ATen/ops/linspace.h>
#include <ATen/ops/replication_pad2d.h>
#include <gtest/gtest.h>

#include <memory>

#include "ct/hounsfield.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::inference {
namespace {

constexpr ct::Window kWindow{-200.0, 600.0};

class DenoiserInferenceTest : public testing::Test {
 protected:
  DenoiserInferenceTest() {
    model_files::save_denoiser(file_, denoiser_->tensors(), {kOptions, kWindow, 7, 0.25});
    denoiser_->tensors().freeze();
  }

  // The network alone, by hand: 1 x 1 x H x W in network range.
  at::Tensor by_hand(const at::Tensor& image_hu) const {
    const at::Tensor input = ((image_hu.clamp(-200.0, 600.0) + 200.0) / 800.0).unsqueeze(0).unsqueeze(0);
    return denoiser_->denoise(input).squeeze(0).squeeze(0) * 800.0 - 200.0;
  }

  // Slices that differ from each other and pass the window's ends.
  static at::Tensor slices_hu(std::int64_t num_slices, std::int64_t rows, std::int64_t columns) {
    const at::Tensor ramp = at::linspace(-900.0, 1400.0, num_slices * rows * columns, at::kDouble);
    return (ramp + 90.0 * (ramp * 37.0).sin()).reshape({num_slices, rows, columns});
  }

  static double largest(const at::Tensor& tensor) { return tensor.abs().max().item<double>(); }

  inline static const models::DenoiserOptions kOptions{.type = "red_cnn", .channels = 5, .input_scale = 3.0};
  models::TensorSettings settings_{.dtype = at::kDouble, .seed = 3};
  std::unique_ptr<models::Denoiser> denoiser_ = models::make_denoiser(kOptions, settings_);
  test::TemporaryFolder folder_;
  std::filesystem::path file_ = folder_.path() / "denoiser.safetensors";
};

TEST_F(DenoiserInferenceTest, AppliesTheNetworkInItsOwnWindow) {
  const at::Tensor image_hu = slices_hu(1, 32, 40)[0];
  const DenoiserInference inference(file_, settings_);
  const at::Tensor found = inference.denoise_hu(image_hu);
  EXPECT_EQ(found.scalar_type(), at::kDouble);
  EXPECT_EQ(found.sizes(), image_hu.sizes());
  EXPECT_LT(largest(found - by_hand(image_hu)), 1e-9);
  EXPECT_GT(largest(found - image_hu.clamp(-200.0, 600.0)), 1.0) << "the network does something";
  EXPECT_EQ(inference.facts().seed, 7u);
}

TEST_F(DenoiserInferenceTest, TheFilesPrecisionIsNotTheComputations) {
  const at::Tensor image_hu = slices_hu(1, 32, 32)[0];
  const at::Tensor found = DenoiserInference(file_, {.dtype = at::kFloat}).denoise_hu(image_hu);
  EXPECT_LT(largest(found - by_hand(image_hu)), 0.01);
  EXPECT_GT(largest(found - by_hand(image_hu)), 0.0);
}

TEST_F(DenoiserInferenceTest, SlicesAreOnesOfAnyNumberAndTypeHoweverManyAreComputedAtOnce) {
  const at::Tensor images_hu = slices_hu(5, 32, 32).round();
  const at::Tensor one_by_one = DenoiserInference(file_, settings_).denoise_hu(images_hu);
  ASSERT_EQ(one_by_one.sizes(), images_hu.sizes());
  for (std::int64_t slice = 0; slice < 5; ++slice) {
    EXPECT_LT(largest(one_by_one[slice] - by_hand(images_hu[slice])), 1e-9) << slice;
  }
  EXPECT_LT(largest(DenoiserInference(file_, settings_, 2).denoise_hu(images_hu) - one_by_one), 1e-9);
  EXPECT_LT(largest(DenoiserInference(file_, settings_).denoise_hu(images_hu.to(at::kShort)) - one_by_one), 1e-9);
  EXPECT_EQ(DenoiserInference(file_, settings_).denoise_hu(images_hu.narrow(0, 0, 0)).sizes(),
            (at::IntArrayRef{0, 32, 32}));
}

// RED-CNN takes nothing below 11 pixels; what is smaller is padded with the nearest pixel and cut back.
TEST_F(DenoiserInferenceTest, SizesThatTheNetworkCannotTakeArePaddedAndCutBack) {
  const std::int64_t smallest = denoiser_->smallest_size();
  ASSERT_GT(smallest, 8);
  const at::Tensor image_hu = slices_hu(1, 8, smallest + 3)[0];
  const at::Tensor padded = at::replication_pad2d(image_hu.unsqueeze(0), {0, 0, 0, smallest - 8}).squeeze(0);
  const at::Tensor found = DenoiserInference(file_, settings_).denoise_hu(image_hu);
  EXPECT_EQ(found.sizes(), image_hu.sizes());
  EXPECT_LT(largest(found - by_hand(padded).narrow(0, 0, 8)), 1e-9);
}

}  // namespace
}  // namespace leda::inference
