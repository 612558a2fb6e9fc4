// A checkpoint of the published structure, made and answered for by an independent network in PyTorch
// (published_network.py), imported by data_tools/import_autoencoder.py: the same latents, tokens and losses here.
#include <ATen/TensorOperators.h>
#include <ATen/ops/from_blob.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "losses/leda_loss.hpp"
#include "losses/semantic_loss.hpp"
#include "model_files/autoencoder_file.hpp"
#include "models/autoencoder.hpp"
#include "storage/safetensors.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::model_files {
namespace {

// Of the levels, as in published_network.py.
const std::vector<std::vector<std::int64_t>> kCandidates{{3}, {3, 17, 250}, {3, 17, 250, 11, 399}};

test::CommandResult run_python(const std::string& arguments) {
  return test::run_command(std::string(LEDA_TEST_PYTHON) + " -W ignore " + LEDA_SOURCE_FOLDER + "/" + arguments);
}

class PublishedWeights : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = std::make_unique<test::TemporaryFolder>();
    const auto made = run_python("tests/support/published_network.py " + folder_->path().string());
    ASSERT_EQ(made.exit_code, 0) << made.output;
    report_ = import(path("published.ckpt"), path("autoencoder.safetensors"));
    ASSERT_EQ(report_.exit_code, 0) << report_.output;
    for (const auto& [name, tensor] : storage::load_safetensors(path("answers.safetensors")).tensors) {
      answers_[name] = tensor;
    }
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return folder_->path() / name; }
  static test::CommandResult import(const std::string& checkpoint, const std::string& output,
                                    const std::string& options = "") {
    return run_python("data_tools/import_autoencoder.py " + checkpoint + " --output " + output + " " + options);
  }

  static double distance(const at::Tensor& found, const std::string& answer) {
    return (found.to(at::kDouble) - answers_.at(answer)).abs().max().item<double>();
  }

  static std::unique_ptr<test::TemporaryFolder> folder_;
  static test::CommandResult report_;
  static std::map<std::string, at::Tensor> answers_;
};
std::unique_ptr<test::TemporaryFolder> PublishedWeights::folder_;
test::CommandResult PublishedWeights::report_;
std::map<std::string, at::Tensor> PublishedWeights::answers_;

std::vector<language::LevelCandidates> candidates(const at::Tensor& codebook) {
  std::vector<language::LevelCandidates> levels;
  for (const std::vector<std::int64_t>& tokens : kCandidates) {
    const at::Tensor rows = codebook.index_select(
        0,
        at::from_blob(const_cast<std::int64_t*>(tokens.data()), {static_cast<std::int64_t>(tokens.size())}, at::kLong));
    levels.push_back({.exists = true,
                      .mean_embedding = rows.mean(0).reshape({1, 1, 1, -1}),
                      .mean_square_norm = rows.square().sum(1).mean().reshape({1, 1, 1})});
  }
  return levels;
}

TEST_F(PublishedWeights, GiveTheLatentsTokensAndLossesOfAnIndependentNetwork) {
  const AutoencoderFile file = load_autoencoder(path("autoencoder.safetensors"), {at::kDouble, at::kCPU, 1});
  const models::Autoencoder& autoencoder = *file.autoencoder;
  EXPECT_EQ(autoencoder.options().compatibility, models::Compatibility::published);
  const at::Tensor images = answers_.at("images");
  const at::Tensor latent = autoencoder.encode(images);
  EXPECT_LT(distance(latent, "latents"), 1e-9);

  const models::QuantizedLatent quantized = autoencoder.quantize(latent, {.log_partition = true});
  ASSERT_EQ(quantized.levels.size(), 3U);
  for (std::size_t level = 0; level < 3; ++level) {
    const at::Tensor& wanted = answers_.at("tokens_" + std::to_string(level + 1));
    const at::Tensor& tokens = quantized.levels[level].tokens;
    EXPECT_TRUE(tokens.reshape(wanted.sizes()).equal(wanted)) << level;
  }
  // Equal tokens say little where there is but one.
  const at::Tensor& finest = answers_.at("tokens_3");
  const auto* first = finest.const_data_ptr<std::int64_t>();
  EXPECT_GT(std::set<std::int64_t>(first, first + finest.numel()).size(), 100U);
  EXPECT_LT(distance(quantized.quantized, "zq"), 1e-9);
  EXPECT_LT(distance(autoencoder.decode(quantized.quantized), "decoded"), 1e-9);
  EXPECT_LT(distance(quantized.commitment.mean(), "commitment"), 1e-9);
  EXPECT_LT(distance(losses::semantic_loss(quantized.levels, candidates(autoencoder.codebook())).mean(), "semantic"),
            1e-9);
  const losses::LedaTerms terms = losses::leda_loss(autoencoder, images.slice(0, 0, 1), images.slice(0, 1, 2));
  EXPECT_LT(distance(terms.token.sum(), "leda_token"), 1e-9);
  EXPECT_LT(distance(terms.feature.sum(), "leda_feature"), 1e-9);
}

TEST_F(PublishedWeights, GiveTheSameInSinglePrecisionWithinItsRounding) {
  const AutoencoderFile file = load_autoencoder(path("autoencoder.safetensors"), {at::kFloat, at::kCPU, 1});
  const at::Tensor latent = file.autoencoder->encode(answers_.at("images").to(at::kFloat));
  EXPECT_LT(distance(latent, "latents"), 1e-5);
  const models::QuantizedLatent quantized = file.autoencoder->quantize(latent, {.log_partition = true});
  for (std::size_t level = 0; level < 3; ++level) {
    const at::Tensor& wanted = answers_.at("tokens_" + std::to_string(level + 1));
    EXPECT_TRUE(quantized.levels[level].tokens.reshape(wanted.sizes()).equal(wanted)) << level;
  }
  EXPECT_LT(distance(quantized.commitment.mean(), "commitment"), 1e-5);
  EXPECT_LT(
      distance(losses::semantic_loss(quantized.levels, candidates(file.autoencoder->codebook())).mean(), "semantic"),
      1e-5);
}

TEST_F(PublishedWeights, GiveTheGradientsOfBothStagesInBothPrecisions) {
  ASSERT_GT(answers_.at("smallest_margin").item<double>(), 1e-5) << "equal tokens would be luck";
  for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-9}, {at::kFloat, 1e-5}}) {
    const AutoencoderFile file = load_autoencoder(path("autoencoder.safetensors"), {type, at::kCPU, 1});
    const models::Autoencoder& autoencoder = *file.autoencoder;
    const at::Tensor latent = answers_.at("latents").to(type).clone().requires_grad_();
    const models::QuantizedLatent quantized = autoencoder.quantize(latent, {.log_partition = true});
    const at::Tensor semantic = losses::semantic_loss(quantized.levels, candidates(autoencoder.codebook()));
    const auto stage_1 = torch::autograd::grad({quantized.commitment.mean() + semantic.mean()}, {latent});
    EXPECT_LT(distance(stage_1[0], "latent_gradient"), tolerance);
    const at::Tensor images = answers_.at("images").to(type);
    const at::Tensor denoised = images.slice(0, 0, 1).clone().requires_grad_();
    const losses::LedaTerms terms = losses::leda_loss(autoencoder, denoised, images.slice(0, 1, 2));
    EXPECT_LT(distance(terms.token.sum(), "leda_token"), tolerance);
    EXPECT_LT(distance(terms.feature.sum(), "leda_feature"), tolerance);
    EXPECT_LT(distance(torch::autograd::grad({(terms.token + terms.feature).sum()}, {denoised})[0], "image_gradient"),
              tolerance);
  }
}

// Stage 2 reads no decoder.
TEST_F(PublishedWeights, AnEncoderAloneGivesTheLedaLoss) {
  const auto done = import(path("published.ckpt"), path("encoder.safetensors"), "--encoder-only");
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const AutoencoderFile file = load_autoencoder(path("encoder.safetensors"), {at::kDouble, at::kCPU, 1});
  EXPECT_FALSE(file.autoencoder->options().has_decoder);
  const at::Tensor images = answers_.at("images");
  const losses::LedaTerms terms = losses::leda_loss(*file.autoencoder, images.slice(0, 0, 1), images.slice(0, 1, 2));
  EXPECT_LT(distance(terms.token.sum(), "leda_token"), 1e-9);
  EXPECT_LT(distance(terms.feature.sum(), "leda_feature"), 1e-9);
  EXPECT_THROW(file.autoencoder->decode(answers_.at("zq")), base::Error);
}

// The running count commits to other means than the published code.
TEST_F(PublishedWeights, WithoutCompatibilityTheCommitmentIsAnotherAndTheTokensAreTheSame) {
  const auto done = import(path("published.ckpt"), path("own.safetensors"), "--compatibility none");
  ASSERT_EQ(done.exit_code, 0) << done.output;
  const AutoencoderFile file = load_autoencoder(path("own.safetensors"), {at::kDouble, at::kCPU, 1});
  const models::QuantizedLatent quantized =
      file.autoencoder->quantize(file.autoencoder->encode(answers_.at("images")), {});
  EXPECT_LT(distance(quantized.quantized, "zq"), 1e-9);
  EXPECT_GT(distance(quantized.commitment.mean(), "commitment"), 1e-5);
}

}  // namespace
}  // namespace leda::model_files
