#include "model_files/autoencoder_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/choice.hpp"
#include "base/error.hpp"
#include "model_files/archive_metadata.hpp"
#include "model_files/network_state.hpp"
#include "storage/checksum.hpp"
#include "storage/safetensors.hpp"

namespace leda::model_files {
namespace {

constexpr const char* kAutoencoderFormat = "leda-autoencoder";
constexpr const char* kAutoencoderVersion = "1";
constexpr const char* kControl = "vocabulary_control";

nlohmann::json options_json(const models::AutoencoderOptions& options) {
  return {{"channels", options.channels},
          {"multipliers", options.multipliers},
          {"encoder_blocks", options.encoder_blocks},
          {"decoder_blocks", options.decoder_blocks},
          {"latent_channels", options.latent_channels},
          {"attention_levels", options.attention_levels},
          {"norm_groups", options.norm_groups},
          {"strides", options.strides},
          {"compatibility", base::name_of(options.compatibility)},
          {"distance", base::name_of(options.distance)},
          {"temperature", options.temperature},
          {"normalise_latents", options.normalise_latents},
          {"has_decoder", options.has_decoder}};
}

// Absent in files written before the option was: it means what it does by default.
template <base::Choice E>
void read_choice(const nlohmann::json& json, const char* key, const std::filesystem::path& path, E& choice) {
  const std::string name = json.value(key, base::name_of(choice));
  const std::optional<E> known = base::choice_named<E>(name);
  if (known) {
    choice = *known;
    return;
  }
  throw base::Error(base::ExitCode::data, {.what = fmt::format("{}: metadata options: {}", path.string(), key),
                                           .value = "'" + name + "'",
                                           .why = "another quantiser or other losses may be meant by it",
                                           .remedy = fmt::format("use a file with {}, or a newer program",
                                                                 fmt::join(names_of(E{}), " or "))});
}

models::AutoencoderOptions options_from(const nlohmann::json& json, const std::filesystem::path& path) {
  models::AutoencoderOptions options;
  json.at("channels").get_to(options.channels);
  json.at("multipliers").get_to(options.multipliers);
  json.at("encoder_blocks").get_to(options.encoder_blocks);
  json.at("decoder_blocks").get_to(options.decoder_blocks);
  json.at("latent_channels").get_to(options.latent_channels);
  json.at("attention_levels").get_to(options.attention_levels);
  json.at("norm_groups").get_to(options.norm_groups);
  json.at("strides").get_to(options.strides);
  // Absent in files written before these options were: they mean what they do by default.
  read_choice(json, "compatibility", path, options.compatibility);
  read_choice(json, "distance", path, options.distance);
  options.temperature = json.value("temperature", options.temperature);
  options.normalise_latents = json.value("normalise_latents", options.normalise_latents);
  options.has_decoder = json.value("has_decoder", options.has_decoder);
  return options;
}

}  // namespace

void save_autoencoder(const std::filesystem::path& path, const models::Autoencoder& autoencoder,
                      const ct::Window& window, const std::string& vocabulary_hash,
                      const std::string& codebook_ablation) {
  storage::TensorArchive archive;
  append_network("", autoencoder.tensors(), archive);
  archive.metadata = {{"format", kAutoencoderFormat},
                      {"version", kAutoencoderVersion},
                      {"options", options_json(autoencoder.options()).dump()},
                      {"window_low_hu", fmt::format("{}", window.low_hu)},
                      {"window_high_hu", fmt::format("{}", window.high_hu)},
                      {"vocabulary_hash", vocabulary_hash},
                      {kControl, codebook_ablation}};
  save_network_file(path, archive);
}

AutoencoderFile load_autoencoder(const std::filesystem::path& path, const models::TensorSettings& settings,
                                 int vocabulary_tile) {
  const storage::ReadArchive read = storage::read_safetensors(path);
  const storage::TensorArchive& archive = read.archive;
  require_format(archive, kAutoencoderFormat, kAutoencoderVersion, path);
  AutoencoderFile file;
  try {
    file.window =
        ct::window_of(metadata_of(archive, "window_low_hu", path) + ":" + metadata_of(archive, "window_high_hu", path));
    models::AutoencoderOptions options =
        options_from(nlohmann::json::parse(metadata_of(archive, "options", path)), path);
    options.vocabulary_tile = vocabulary_tile;
    at::Tensor codebook;
    for (const auto& [name, tensor] : archive.tensors) {
      if (name == models::kCodebookName) codebook = tensor;
    }
    if (!codebook.defined()) {
      throw base::Error(base::ExitCode::data,
                        {.what = fmt::format("{}: entry {}", path.string(), models::kCodebookName),
                         .value = "missing",
                         .why = "the words the autoencoder speaks in are its codebook",
                         .remedy = "use the autoencoder.safetensors that stage 1 wrote"});
    }
    file.autoencoder = std::make_unique<models::Autoencoder>(options, codebook, settings);
  } catch (const nlohmann::json::exception& fault) {
    throw base::Error(base::ExitCode::data, {.what = path.string() + ": metadata options cannot be read",
                                             .value = fault.what(),
                                             .why = "",
                                             .remedy = "use the autoencoder.safetensors that stage 1 wrote"});
  }
  load_network("", archive, file.autoencoder->tensors(), path.string());
  file.autoencoder->tensors().freeze();
  file.vocabulary_hash = metadata_of(archive, "vocabulary_hash", path);
  for (const auto& [name, value] : archive.metadata) {
    if (name == kControl) file.codebook_ablation = value;
  }
  file.checksum = storage::checksum_text(read.checksum);
  return file;
}

void require_vocabulary(const AutoencoderFile& file, const std::filesystem::path& path, const std::string& hash,
                        const std::string& ablation) {
  if (file.vocabulary_hash != hash) {
    throw base::ErrorOnAllRanks(base::ExitCode::data,
                                {.what = path.string() + " was trained with another vocabulary",
                                 .value = fmt::format("hash {}, vocabulary.file has {}", file.vocabulary_hash, hash),
                                 .why = "its tokens would be read as other words",
                                 .remedy = "restore vocabulary.file, or start afresh with --new-run"});
  }
  if (file.codebook_ablation != ablation) {
    throw base::ErrorOnAllRanks(
        base::ExitCode::data, {.what = path.string() + " was trained with another codebook",
                               .value = fmt::format("codebook ablation {}; vocabulary.control and run.seed ask for {}",
                                                    file.codebook_ablation, ablation),
                               .why = "it would be taken for what it is not",
                               .remedy = "restore vocabulary.control, or start afresh with --new-run"});
  }
}

}  // namespace leda::model_files
