#include "model_files/denoiser_file.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "model_files/archive_metadata.hpp"
#include "model_files/network_state.hpp"
#include "storage/safetensors.hpp"

namespace leda::model_files {
namespace {

constexpr const char* kDenoiserFormat = "leda-denoiser";
constexpr const char* kDenoiserVersion = "1";

}  // namespace

void save_denoiser(const std::filesystem::path& path, const models::TensorTable& tensors, const DenoiserFacts& facts) {
  storage::TensorArchive archive;
  append_network("", tensors, archive);
  const nlohmann::json description = {{"type", facts.options.type},
                                      {"channels", facts.options.channels},
                                      {"input_scale", facts.options.input_scale},
                                      {"window_low_hu", facts.window.low_hu},
                                      {"window_high_hu", facts.window.high_hu},
                                      {"seed", facts.seed},
                                      {"leda_weight", facts.leda_weight}};
  archive.metadata = {{"format", kDenoiserFormat}, {"version", kDenoiserVersion}, {"description", description.dump()}};
  save_network_file(path, archive);
}

DenoiserFile load_denoiser(const std::filesystem::path& path, const models::TensorSettings& settings) {
  const storage::TensorArchive archive = storage::load_safetensors(path);
  require_format(archive, kDenoiserFormat, kDenoiserVersion, path);
  DenoiserFile file;
  try {
    const auto description = nlohmann::json::parse(metadata_of(archive, "description", path));
    description.at("type").get_to(file.facts.options.type);
    description.at("channels").get_to(file.facts.options.channels);
    description.at("input_scale").get_to(file.facts.options.input_scale);
    description.at("window_low_hu").get_to(file.facts.window.low_hu);
    description.at("window_high_hu").get_to(file.facts.window.high_hu);
    description.at("seed").get_to(file.facts.seed);
    description.at("leda_weight").get_to(file.facts.leda_weight);
  } catch (const nlohmann::json::exception& fault) {
    throw base::Error(base::ExitCode::data, {.what = path.string() + ": metadata description cannot be read",
                                             .value = fault.what(),
                                             .why = "",
                                             .remedy = "use the denoiser.safetensors that stage 2 wrote"});
  }
  file.denoiser = models::make_denoiser(file.facts.options, settings);
  load_network("", archive, file.denoiser->tensors(), path.string());
  file.denoiser->tensors().freeze();
  return file;
}

}  // namespace leda::model_files
