// leda_explain: which vocabulary word the frozen autoencoder assigns where, in low-dose, denoised and normal-dose
// images, and how well they agree, on any number of ranks.
#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/command_line.hpp"
#include "config/option_table.hpp"
#include "data/shard_catalogue.hpp"
#include "evaluation/explanation_report.hpp"
#include "inference/denoiser_inference.hpp"
#include "inference/inference_device.hpp"
#include "model_files/autoencoder_file.hpp"
#include "programs/run_program.hpp"
#include "programs/stoppable_work.hpp"

namespace {

namespace fs = std::filesystem;
using leda::base::ExitCode;

constexpr const char* kUsage =
    R"(leda_explain: the words that a trained autoencoder sees in CT images, drawn over them, and their agreement
with the normal dose.

  mpirun -np 2 leda_explain --data.folder data/quickstart/test --explain.output words \
      --explain.autoencoder runs/quickstart/pretrain/autoencoder.safetensors \
      --explain.denoiser runs/quickstart/with_leda/denoiser.safetensors

Writes explanation.html (one page, opens offline), explanation.json and a PNG per slice and level drawn.

Options and their defaults:
)";

struct Options {
  std::string data_folder = "data/quickstart/test";
  std::string autoencoder;
  std::string vocabulary = "builtin";
  std::string denoiser;
  std::string output = "explanation";
  std::vector<int> slices;
  std::string patient;
  std::string series;
  std::vector<int> levels;
  std::string window = "abdomen";
  std::int64_t legend_length = 16;
  std::int64_t top_words = 5;
  std::int64_t max_pictures = 12;
  std::int64_t max_positions = 100;
};

leda::config::OptionTable table_of(Options& options) {
  leda::config::OptionTable table;
  table.add("data.folder", "holds *.h5 shards", &options.data_folder);
  table.add("explain.autoencoder", "the autoencoder.safetensors whose words are shown", &options.autoencoder);
  table.add("explain.vocabulary", "that it was trained with: builtin or a vocabulary file", &options.vocabulary);
  table.add("explain.denoiser", "a denoiser.safetensors; without one there is no denoised image", &options.denoiser);
  table.add("explain.output", "folder for page, JSON and pictures", &options.output);
  table.add("explain.slices", "slice ids, with commas; empty: all", &options.slices);
  table.add("explain.patient", "only this patient's slices; empty: all", &options.patient);
  table.add("explain.series", "only this series' slices; empty: all", &options.series);
  table.add("explain.levels", "levels of the token pyramid, from 1; empty: all", &options.levels);
  table.add("explain.window", "HU range of the pictures: leda, abdomen, wide or LOW:HIGH", &options.window);
  table.add("explain.legend_length", "words in a legend and in the page's tables", &options.legend_length);
  table.add("explain.top_words", "most frequent words that the overlap compares", &options.top_words);
  table.add("explain.max_pictures", "slices drawn, evenly spaced among those explained", &options.max_pictures);
  table.add("explain.max_positions", "positions listed of each change of word", &options.max_positions);
  return table;
}

[[noreturn]] void refuse(const std::string& what, const std::string& value, const std::string& why,
                         const std::string& remedy) {
  throw leda::base::ErrorOnAllRanks(ExitCode::options, {what, value, why, remedy});
}

void check(const Options& options) {
  if (options.autoencoder.empty()) {
    refuse("explain.autoencoder", "empty", "its words are what is shown", "an autoencoder.safetensors of stage 1");
  }
  const auto require_at_least = [](const std::string& key, std::int64_t value, std::int64_t least) {
    if (value < least) refuse(key, std::to_string(value), "", fmt::format("a whole number from {}", least));
  };
  require_at_least("explain.legend_length", options.legend_length, 1);
  require_at_least("explain.top_words", options.top_words, 1);
  require_at_least("explain.max_pictures", options.max_pictures, 0);
  require_at_least("explain.max_positions", options.max_positions, 0);
}

// In the denoiser's own window, back in HU.
std::function<at::Tensor(const at::Tensor&)> denoise_function(const std::string& file, const at::Device& device) {
  if (file.empty()) return {};
  const auto denoiser =
      std::make_shared<const leda::inference::DenoiserInference>(file, leda::models::TensorSettings{.device = device});
  return [denoiser](const at::Tensor& low_dose_hu) { return denoiser->denoise_hu(low_dose_hu); };
}

// Imported weights may carry no hash; then the rows speak for themselves, as they are or of length 1.
bool is_codebook_of(const at::Tensor& codebook, const leda::language::Vocabulary& vocabulary,
                    const leda::model_files::AutoencoderFile& file) {
  if (file.vocabulary_hash != "none") return false;
  return codebook.allclose(leda::language::make_codebook(vocabulary, false, codebook.scalar_type())) ||
         codebook.allclose(leda::language::make_codebook(vocabulary, true, codebook.scalar_type()));
}

// The vocabulary of the autoencoder's codebook and no other: a token would name another word.
leda::language::Vocabulary matching_vocabulary(const Options& options, const leda::model_files::AutoencoderFile& file) {
  leda::language::Vocabulary vocabulary = leda::language::load_vocabulary(options.vocabulary);
  const at::Tensor codebook = file.autoencoder->codebook();
  const auto shape = [](std::int64_t words, std::int64_t width) { return fmt::format("{} words of {}", words, width); };
  const std::string wanted = shape(codebook.size(0), codebook.size(1));
  const std::string found = shape(vocabulary.size(), vocabulary.embeddings.size(1));
  if (wanted == found && (vocabulary.hash == file.vocabulary_hash || is_codebook_of(codebook, vocabulary, file))) {
    return vocabulary;
  }
  refuse(
      fmt::format("explain.vocabulary is not the one that {} was trained with", options.autoencoder),
      fmt::format("{}: {} numbers, hash {}", options.vocabulary, found, vocabulary.hash),
      fmt::format("the autoencoder's codebook has {} numbers, its vocabulary the hash {}", wanted,
                  file.vocabulary_hash),
      "name the vocabulary file of the training (its option vocabulary.file), or, for imported weights, the one that "
      "import_autoencoder.py --vocabulary FILE --write-vocabulary FILE writes");
}

std::vector<std::int64_t> slices_of(const Options& options, const leda::data::ShardCatalogue& catalogue) {
  return leda::evaluation::chosen_slices(
      catalogue,
      {.slices = {options.slices.begin(), options.slices.end()}, .patient = options.patient, .series = options.series});
}

// Tissue words where the vocabulary has them for every tissue.
std::optional<leda::language::TissueWords> tissue_words_of(const leda::language::Vocabulary& vocabulary,
                                                           leda::logging::Console& console) {
  try {
    return leda::language::TissueWords(vocabulary);
  } catch (const leda::base::Error& error) {
    console.warn(fmt::format("no agreement with the tissue labels: {}", error.text().what));
    return std::nullopt;
  }
}

ExitCode explain(const std::vector<std::string>& arguments, leda::distributed::Communicator& communicator,
                 leda::logging::Console& console) {
  Options options;
  leda::config::OptionTable table = table_of(options);
  const leda::config::CommandLine line = leda::config::parse_command_line(arguments, {}, "", table);
  if (line.wants_help) console.say(fmt::format("{}{}", kUsage, table.help_text()));
  if (line.wants_version) console.say(fmt::format("leda_explain {}", LEDA_VERSION));
  if (line.wants_dump) console.say(table.dump());
  if (line.wants_help || line.wants_version || line.wants_dump) return ExitCode::finished;
  check(options);

  leda::programs::set_threads(0, communicator);
  const at::Device device = leda::inference::inference_device(communicator);
  leda::model_files::AutoencoderFile file =
      leda::model_files::load_autoencoder(options.autoencoder, {.device = device});
  const leda::language::Vocabulary vocabulary = matching_vocabulary(options, file);
  const leda::evaluation::WordReader reader(std::move(file.autoencoder), file.window, options.autoencoder);
  const auto catalogue = leda::data::ShardCatalogue::open(options.data_folder);
  const leda::evaluation::ExplanationDisplay display{.window = leda::ct::window_of(options.window),
                                                     .legend_length = options.legend_length};
  std::optional<leda::language::TissueWords> tissue_words;
  if (catalogue.has_tissue()) tissue_words = tissue_words_of(vocabulary, console);

  leda::evaluation::ExplainOptions wanted{.slice_ids = slices_of(options, catalogue),
                                          .levels = options.levels,
                                          .num_top_words = options.top_words,
                                          .num_pictures = options.max_pictures,
                                          .max_positions = options.max_positions,
                                          .tissue_words = tissue_words ? &*tissue_words : nullptr,
                                          .denoise_hu = denoise_function(options.denoiser, device)};
  const leda::evaluation::ExplanationSources sources{.data_folder = options.data_folder,
                                                     .autoencoder = options.autoencoder,
                                                     .autoencoder_checksum = file.checksum,
                                                     .vocabulary_control = file.vocabulary_control,
                                                     .denoiser = options.denoiser};
  std::optional<leda::evaluation::ExplainedSlices> explained;
  const ExitCode code = leda::programs::run_stoppable(
      [&](const auto& should_stop) {
        wanted.should_stop = should_stop;
        explained = leda::evaluation::explain(catalogue, reader, wanted, communicator, console);
        return explained && leda::evaluation::write_explanation(options.output, *explained, catalogue, vocabulary,
                                                                sources, display, communicator, should_stop);
      },
      "stopped, on request; nothing was written", communicator, console);
  if (code != ExitCode::finished) return code;
  console.say(fmt::format("\n{}", leda::evaluation::explanation_text(explained->explanation, vocabulary)));
  console.say(fmt::format("page: {}", fs::absolute(fs::path(options.output) / "explanation.html").string()));
  return ExitCode::finished;
}

}  // namespace

int main(int argc, char** argv) { return leda::programs::run_program(argc, argv, "leda_explain", explain); }
