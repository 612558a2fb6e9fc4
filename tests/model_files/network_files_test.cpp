// Both files that a run leaves behind: what goes in comes out, and what does not fit is refused by file and field.
#include <ATen/ops/linspace.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "model_files/autoencoder_file.hpp"
#include "model_files/denoiser_file.hpp"
#include "storage/checksum.hpp"
#include "storage/safetensors.hpp"
#include "tests/support/refusal.hpp"
#include "tests/support/run_command.hpp"
#include "tests/support/temporary_folder.hpp"

namespace leda::model_files {
namespace {

using testing::HasSubstr;

constexpr ct::Window kWindow{-160.25, 240.0};

models::AutoencoderOptions small_autoencoder() {
  return {.channels = 8,
          .multipliers = {1, 2},
          .encoder_blocks = 1,
          .decoder_blocks = 1,
          .latent_channels = 12,
          .attention_levels = {1},
          .norm_groups = 4,
          .strides = {2, 1}};
}

at::Tensor codebook() { return at::linspace(-1.0, 1.0, 5 * 6, at::kDouble).reshape({5, 6}); }

void expect_equal_tables(const models::TensorTable& found, const models::TensorTable& wanted, at::ScalarType dtype) {
  const auto compare = [&](const auto& left, const auto& right) {
    ASSERT_EQ(left.size(), right.size());
    for (std::size_t i = 0; i < left.size(); ++i) {
      EXPECT_EQ(left[i].name, right[i].name);
      EXPECT_EQ(left[i].tensor.scalar_type(), dtype);
      EXPECT_FALSE(left[i].tensor.requires_grad()) << left[i].name;
      EXPECT_TRUE(left[i].tensor.equal(right[i].tensor.detach().to(dtype))) << left[i].name;
    }
  };
  compare(found.parameters, wanted.parameters);
  compare(found.buffers, wanted.buffers);
}

class NetworkFiles : public testing::Test {
 protected:
  NetworkFiles()
      : autoencoder(small_autoencoder(), codebook(), {at::kDouble, at::kCPU, 3}),
        facts{{.type = "red_cnn", .channels = 5, .input_scale = 10.0}, kWindow, 18446744073709551615u, 0.5},
        denoiser(models::make_denoiser(facts.options, {at::kDouble, at::kCPU, 4})) {
    save_autoencoder(autoencoder_path, autoencoder, kWindow, "0123456789abcdef");
    save_denoiser(denoiser_path, denoiser->tensors(), facts);
  }

  // Saves the archive at `path` again after a change, and returns what loading says to it.
  std::string refusal(const std::filesystem::path& path, const std::function<void(storage::TensorArchive&)>& change) {
    storage::TensorArchive archive = storage::load_safetensors(path);
    change(archive);
    const std::filesystem::path changed = folder.path() / "changed.safetensors";
    storage::save_safetensors(changed, archive);
    const auto fault = test::thrown_error(
        [&] { path == denoiser_path ? (void)load_denoiser(changed, {}) : (void)load_autoencoder(changed, {}); });
    if (!fault) return "";
    EXPECT_EQ(fault->exit_code(), base::ExitCode::data) << fault->what();
    EXPECT_THAT(fault->what(), HasSubstr(changed.string()));
    return fault->what();
  }

  static void remove_tensor(storage::TensorArchive& archive, const std::string& name) {
    const auto removed = std::erase_if(archive.tensors, [&](const auto& entry) { return entry.first == name; });
    ASSERT_EQ(removed, 1u) << name;
  }

  static void replace_tensor(storage::TensorArchive& archive, const std::string& name, const at::Tensor& value) {
    for (auto& [its_name, tensor] : archive.tensors) {
      if (its_name == name) tensor = value;
    }
  }

  // Changes one entry of a JSON text in the metadata; null removes it.
  static void change_json(storage::TensorArchive& archive, const std::string& field, const std::string& key,
                          const nlohmann::json& value) {
    nlohmann::json json = nlohmann::json::parse(archive.metadata.at(field));
    ASSERT_TRUE(json.contains(key)) << key;
    json.erase(key);
    if (!value.is_null()) json[key] = value;
    archive.metadata[field] = json.dump();
  }

  const test::TemporaryFolder folder;
  const std::filesystem::path autoencoder_path = folder.path() / "autoencoder.safetensors";
  const std::filesystem::path denoiser_path = folder.path() / "denoiser.safetensors";
  models::Autoencoder autoencoder;
  DenoiserFacts facts;
  std::unique_ptr<models::Denoiser> denoiser;
};

TEST_F(NetworkFiles, HowManyWordsAreScoredAtATimeIsTheLoadersChoice) {
  EXPECT_EQ(load_autoencoder(autoencoder_path, {}, 7).autoencoder->options().vocabulary_tile, 7);
  EXPECT_EQ(load_autoencoder(autoencoder_path, {}).autoencoder->options().vocabulary_tile,
            models::AutoencoderOptions{}.vocabulary_tile);
}

TEST_F(NetworkFiles, AutoencoderComesBackWithValuesOptionsAndWindow) {
  const AutoencoderFile file = load_autoencoder(autoencoder_path, {at::kDouble, at::kCPU, 99});
  expect_equal_tables(file.autoencoder->tensors(), autoencoder.tensors(), at::kDouble);
  const models::AutoencoderOptions options = file.autoencoder->options();
  EXPECT_EQ(options.channels, 8);
  EXPECT_EQ(options.multipliers, (std::vector<int>{1, 2}));
  EXPECT_EQ(options.encoder_blocks, 1);
  EXPECT_EQ(options.decoder_blocks, 1);
  EXPECT_EQ(options.latent_channels, 12);
  EXPECT_EQ(options.attention_levels, (std::vector<int>{1}));
  EXPECT_EQ(options.norm_groups, 4);
  EXPECT_EQ(options.strides, (std::vector<int>{2, 1}));
  EXPECT_EQ(file.window, kWindow);
  EXPECT_EQ(file.vocabulary_hash, "0123456789abcdef");
  const at::Tensor image = at::linspace(0.0, 1.0, 64, at::kDouble).reshape({1, 1, 8, 8});
  EXPECT_TRUE(file.autoencoder->encode(image).equal(autoencoder.encode(image)));
}

// Version 1 began without these options.
TEST_F(NetworkFiles, AutoencoderWithoutCompatibilityComputesAsThisProjectDoes) {
  storage::TensorArchive archive = storage::load_safetensors(autoencoder_path);
  change_json(archive, "options", "compatibility", nullptr);
  change_json(archive, "options", "has_decoder", nullptr);
  storage::save_safetensors(autoencoder_path, archive);
  const models::AutoencoderOptions options = load_autoencoder(autoencoder_path, {}).autoencoder->options();
  EXPECT_EQ(options.compatibility, models::Compatibility::none);
  EXPECT_TRUE(options.has_decoder);
}

TEST_F(NetworkFiles, AnUnknownCompatibilityIsRefused) {
  const auto unknown = [](auto& archive) { change_json(archive, "options", "compatibility", "taming"); };
  EXPECT_THAT(refusal(autoencoder_path, unknown), AllOf(HasSubstr("compatibility"), HasSubstr("taming")));
}

TEST_F(NetworkFiles, AnEncoderAloneEncodesAndHasNoDecoder) {
  storage::TensorArchive archive = storage::load_safetensors(autoencoder_path);
  change_json(archive, "options", "has_decoder", false);
  std::erase_if(archive.tensors, [](const auto& entry) {
    return entry.first.starts_with("decoder.") || entry.first.starts_with("post_quant_conv.");
  });
  storage::save_safetensors(autoencoder_path, archive);
  const AutoencoderFile file = load_autoencoder(autoencoder_path, {at::kDouble, at::kCPU, 1});
  const at::Tensor latent = file.autoencoder->encode(at::linspace(0.0, 1.0, 64, at::kDouble).reshape({1, 1, 8, 8}));
  EXPECT_TRUE(latent.equal(autoencoder.encode(at::linspace(0.0, 1.0, 64, at::kDouble).reshape({1, 1, 8, 8}))));
  EXPECT_THROW(file.autoencoder->decode(latent), base::Error);
}

TEST_F(NetworkFiles, WhatChangesTheQuantiserComesBack) {
  models::AutoencoderOptions options = small_autoencoder();
  options.distance = models::WordDistance::cosine;
  options.temperature = 0.07;
  options.normalise_latents = true;
  const models::Autoencoder cosine(options, codebook(), {at::kDouble, at::kCPU, 3});
  save_autoencoder(autoencoder_path, cosine, kWindow, "0123456789abcdef");
  const AutoencoderFile file = load_autoencoder(autoencoder_path, {at::kDouble, at::kCPU, 99});
  EXPECT_TRUE(file.autoencoder->metric().cosine);
  EXPECT_EQ(file.autoencoder->metric().temperature, 0.07);
  EXPECT_TRUE(file.autoencoder->options().normalise_latents);
  const at::Tensor image = at::linspace(0.0, 1.0, 64, at::kDouble).reshape({1, 1, 8, 8});
  EXPECT_TRUE(file.autoencoder->encode(image).equal(cosine.encode(image)));
}

// As written before the quantiser had these options.
TEST_F(NetworkFiles, AnAutoencoderWithoutQuantiserOptionsHasTheDefaults) {
  const auto remove_all = [](storage::TensorArchive& archive) {
    for (const char* key : {"distance", "temperature", "normalise_latents"}) {
      change_json(archive, "options", key, nullptr);
    }
  };
  EXPECT_EQ(refusal(autoencoder_path, remove_all), "");
  const AutoencoderFile file = load_autoencoder(folder.path() / "changed.safetensors", {});
  EXPECT_FALSE(file.autoencoder->metric().cosine);
  EXPECT_EQ(file.autoencoder->metric().temperature, 1.0);
  EXPECT_FALSE(file.autoencoder->options().normalise_latents);
}

TEST_F(NetworkFiles, DenoiserComesBackWithValuesAndFacts) {
  const DenoiserFile file = load_denoiser(denoiser_path, {at::kDouble, at::kCPU, 99});
  expect_equal_tables(file.denoiser->tensors(), denoiser->tensors(), at::kDouble);
  EXPECT_EQ(file.facts.options.type, "red_cnn");
  EXPECT_EQ(file.facts.options.channels, 5);
  EXPECT_EQ(file.facts.options.input_scale, 10.0);
  EXPECT_EQ(file.facts.window, kWindow);
  EXPECT_EQ(file.facts.seed, 18446744073709551615u);
  EXPECT_EQ(file.facts.leda_weight, 0.5);
  const at::Tensor image = at::linspace(0.0, 1.0, 32 * 32, at::kDouble).reshape({1, 1, 32, 32});
  EXPECT_TRUE(file.denoiser->denoise(image).equal(denoiser->denoise(image)));
}

TEST_F(NetworkFiles, Float64ValuesAreRoundedToFloat32WhereThatIsAskedFor) {
  expect_equal_tables(load_autoencoder(autoencoder_path, {}).autoencoder->tensors(), autoencoder.tensors(), at::kFloat);
  expect_equal_tables(load_denoiser(denoiser_path, {}).denoiser->tensors(), denoiser->tensors(), at::kFloat);
}

TEST_F(NetworkFiles, TheAutoencodersChecksumTellsFilesApart) {
  const std::string before = load_autoencoder(autoencoder_path, {}).checksum;
  EXPECT_EQ(load_autoencoder(autoencoder_path, {}).checksum, before);
  save_autoencoder(autoencoder_path, autoencoder, kWindow, "0123456789abcdee");
  EXPECT_NE(load_autoencoder(autoencoder_path, {}).checksum, before);
}

// Bytes that this process has asked the system for so far.
std::uint64_t bytes_read() {
  std::ifstream counters("/proc/self/io");
  std::string name;
  std::uint64_t value = 0;
  counters >> name >> value;
  EXPECT_EQ(name, "rchar:");
  return value;
}

TEST_F(NetworkFiles, AnAutoencoderIsReadAndHashedInOnePass) {
  const models::Autoencoder larger({.channels = 64, .multipliers = {1, 2}, .norm_groups = 4, .strides = {2, 1}},
                                   at::zeros({300, 128}, at::kDouble), {at::kDouble, at::kCPU, 3});
  const std::filesystem::path path = folder.path() / "larger.safetensors";
  save_autoencoder(path, larger, kWindow, "0123456789abcdef");
  const std::uint64_t before = bytes_read();
  const AutoencoderFile file = load_autoencoder(path, {at::kDouble, at::kCPU});
  const std::uint64_t num_bytes = bytes_read() - before;
  EXPECT_GE(num_bytes, std::filesystem::file_size(path));
  EXPECT_LT(static_cast<double>(num_bytes), 1.2 * static_cast<double>(std::filesystem::file_size(path)));
  EXPECT_EQ(file.checksum, storage::checksum_text(storage::file_checksum(path)));
}

TEST_F(NetworkFiles, TheAutoencoderSaysWhatWasDoneToItsCodebook) {
  const AutoencoderFile plain = load_autoencoder(autoencoder_path, {});
  EXPECT_EQ(plain.codebook_ablation, "none");
  EXPECT_NO_THROW(require_vocabulary(plain, autoencoder_path, "0123456789abcdef", "none"));
  EXPECT_THROW(require_vocabulary(plain, autoencoder_path, "0123456789abcdee", "none"), base::ErrorOnAllRanks);

  save_autoencoder(autoencoder_path, autoencoder, kWindow, "0123456789abcdef", "shuffled, seed 7");
  const AutoencoderFile shuffled = load_autoencoder(autoencoder_path, {});
  EXPECT_EQ(shuffled.codebook_ablation, "shuffled, seed 7");
  EXPECT_NO_THROW(require_vocabulary(shuffled, autoencoder_path, "0123456789abcdef", "shuffled, seed 7"));
  for (const std::string ablation : {"none", "random, seed 7", "shuffled, seed 8"}) {
    EXPECT_THROW(require_vocabulary(shuffled, autoencoder_path, "0123456789abcdef", ablation), base::ErrorOnAllRanks);
  }
  // Files from before there were ablations have none.
  const auto forget = [](storage::TensorArchive& archive) { archive.metadata.erase("vocabulary_control"); };
  EXPECT_EQ(refusal(autoencoder_path, forget), "");
}

TEST_F(NetworkFiles, UnchangedCopiesAndSurplusEntriesAreAccepted) {
  const auto surplus = [](storage::TensorArchive& archive) {
    archive.metadata["remark"] = "kept by hand";
    archive.tensors.emplace_back("surplus", at::zeros({2}));
  };
  for (const auto& path : {autoencoder_path, denoiser_path}) {
    EXPECT_EQ(refusal(path, [](storage::TensorArchive&) {}), "");
    EXPECT_EQ(refusal(path, surplus), "");
  }
}

TEST_F(NetworkFiles, AnotherFormatOrVersionIsRefused) {
  for (const auto& path : {autoencoder_path, denoiser_path}) {
    EXPECT_THAT(refusal(path, [](auto& archive) { archive.metadata["format"] = "something else"; }),
                HasSubstr("something else"));
    EXPECT_THAT(refusal(path, [](auto& archive) { archive.metadata["version"] = "2"; }), HasSubstr("version 2"));
  }
  EXPECT_THROW(load_denoiser(autoencoder_path, {}), base::Error);
  EXPECT_THROW(load_autoencoder(denoiser_path, {}), base::Error);
}

TEST_F(NetworkFiles, EveryMissingFieldIsNamed) {
  for (const char* field : {"format", "version", "options", "window_low_hu", "window_high_hu", "vocabulary_hash"}) {
    EXPECT_THAT(refusal(autoencoder_path, [&](auto& archive) { archive.metadata.erase(field); }), HasSubstr(field));
  }
  for (const char* key : {"channels", "multipliers", "encoder_blocks", "decoder_blocks", "latent_channels",
                          "attention_levels", "norm_groups", "strides"}) {
    EXPECT_THAT(refusal(autoencoder_path, [&](auto& archive) { change_json(archive, "options", key, nullptr); }),
                HasSubstr(key));
  }
  for (const char* field : {"format", "version", "description"}) {
    EXPECT_THAT(refusal(denoiser_path, [&](auto& archive) { archive.metadata.erase(field); }), HasSubstr(field));
  }
  for (const char* key :
       {"type", "channels", "input_scale", "window_low_hu", "window_high_hu", "seed", "leda_weight"}) {
    EXPECT_THAT(refusal(denoiser_path, [&](auto& archive) { change_json(archive, "description", key, nullptr); }),
                HasSubstr(key));
  }
}

TEST_F(NetworkFiles, UnreadableFieldsAreNamed) {
  EXPECT_THAT(refusal(autoencoder_path, [](auto& archive) { archive.metadata["options"] = "{"; }),
              HasSubstr("options"));
  EXPECT_THAT(refusal(autoencoder_path, [](auto& archive) { change_json(archive, "options", "strides", "two"); }),
              HasSubstr("options"));
  EXPECT_THAT(refusal(denoiser_path, [](auto& archive) { archive.metadata["description"] = "{"; }),
              HasSubstr("description"));
  EXPECT_THAT(refusal(denoiser_path, [](auto& archive) { change_json(archive, "description", "channels", "five"); }),
              HasSubstr("description"));
}

TEST_F(NetworkFiles, EveryMissingOrMisshapenTensorIsNamed) {
  for (const auto& path : {autoencoder_path, denoiser_path}) {
    const storage::TensorArchive archive = storage::load_safetensors(path);
    for (const auto& [name, tensor] : archive.tensors) {
      const std::string key = name;
      const std::string without = refusal(path, [&](auto& changed) { remove_tensor(changed, key); });
      EXPECT_NE(without, "") << key;
      // The codebook's shape is what the network takes; without it, its neighbours do not fit.
      if (key == "quantize.embedding.weight") continue;
      EXPECT_THAT(without, HasSubstr(key));
      EXPECT_THAT(refusal(path,
                          [&](auto& changed) {
                            replace_tensor(changed, key, at::zeros({2, 9}));
                          }),
                  AllOf(HasSubstr(key), HasSubstr("[2, 9]")));
    }
  }
}

TEST_F(NetworkFiles, OptionsThatDoNotFitTheTensorsAreRefused) {
  EXPECT_THAT(refusal(denoiser_path, [](auto& archive) { change_json(archive, "description", "channels", 6); }),
              AllOf(HasSubstr("conv1.weight"), HasSubstr("[5, 1, 5, 5]"), HasSubstr("[6, 1, 5, 5]")));
  EXPECT_NE(refusal(autoencoder_path, [](auto& archive) { change_json(archive, "options", "channels", 16); }), "");
}

TEST_F(NetworkFiles, AreReadByPythonAsTheDocumentSays) {
  std::ofstream(folder.path() / "read.py") << R"(
import json, sys
from safetensors import safe_open
with safe_open(sys.argv[1], framework="numpy") as file:
    description = json.loads(file.metadata()["description"])
    weights = {name: file.get_tensor(name) for name in file.keys()}
print(description["type"], description["leda_weight"], description["seed"], weights["conv1.weight"].shape)
with safe_open(sys.argv[2], framework="numpy") as file:
    codebook = file.get_tensor("quantize.embedding.weight")
    print(codebook.shape, codebook[0, 0], json.loads(file.metadata()["options"])["strides"], file.metadata()["window_low_hu"])
)";
  const test::CommandResult result =
      test::run_command(fmt::format("{} {}/read.py {} {}", LEDA_TEST_PYTHON, folder.path().string(),
                                    denoiser_path.string(), autoencoder_path.string()));
  EXPECT_EQ(result.exit_code, 0) << result.output;
  EXPECT_EQ(result.output, "red_cnn 0.5 18446744073709551615 (5, 1, 5, 5)\n(5, 6) -1.0 [2, 1] -160.25\n");
}

}  // namespace
}  // namespace leda::model_files
