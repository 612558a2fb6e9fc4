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
#include "config/explain_options.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "explanation/explanation_report.hpp"
#include "inference/denoiser_inference.hpp"
#include "inference/inference_device.hpp"
#include "model_files/autoencoder_file.hpp"
#include "programs/run_program.hpp"
#include "programs/stoppable_work.hpp"

namespace {

namespace fs = std::filesystem;
using leda::base::ExitCode;

[[noreturn]] void refuse(const std::string& what, const std::string& value, const std::string& why,
                         const std::string& remedy) {
  throw leda::base::ErrorOnAllRanks(ExitCode::options, {what, value, why, remedy});
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
leda::language::Vocabulary matching_vocabulary(const leda::config::ExplainProgramOptions& options,
                                               const leda::model_files::AutoencoderFile& file) {
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

std::vector<std::int64_t> slices_of(const leda::config::ExplainProgramOptions& options,
                                    const leda::data::ShardCatalogue& catalogue) {
  return leda::explanation::chosen_slices(
      catalogue,
      {.slices = {options.slices.begin(), options.slices.end()}, .patient = options.patient, .series = options.series});
}

// Tissue words where the vocabulary has them for every tissue.
std::optional<leda::language::TissueWords> tissue_words_of(const leda::language::Vocabulary& vocabulary,
                                                           leda::logging::Console& console) {
  try {
    return leda::language::TissueWords(vocabulary);
  } catch (const leda::base::Error& error) {
    console.warning(fmt::format("no agreement with the tissue labels: {}", error.text().what));
    return std::nullopt;
  }
}

ExitCode explain(const std::vector<std::string>& arguments, leda::distributed::Communicator& communicator,
                 leda::logging::Console& console) {
  leda::config::ExplainProgramOptions options;
  leda::config::OptionTable table;
  leda::config::bind_explain_options(table, options);
  const leda::config::ProgramDescription program = leda::config::explain_program();
  const leda::config::CommandLine line = leda::config::parse_command_line(arguments, program, "", table);
  if (const auto answer = answer_to(line, program, table)) {
    console.print(*answer);
    return ExitCode::finished;
  }
  if (options.autoencoder.empty()) {
    refuse("explain.autoencoder", "empty", "its words are what is shown", "an autoencoder.safetensors of stage 1");
  }

  leda::programs::set_threads(0, communicator);
  const at::Device device = leda::inference::inference_device(communicator);
  leda::model_files::AutoencoderFile file =
      leda::model_files::load_autoencoder(options.autoencoder, {.device = device});
  const leda::language::Vocabulary vocabulary = matching_vocabulary(options, file);
  const leda::evaluation::WordReader reader(std::move(file.autoencoder), file.window, options.autoencoder);
  const auto catalogue = leda::data::ShardCatalogue::open(options.data_folder);
  const leda::explanation::ExplanationDisplay display{.window = leda::ct::window_of(options.window),
                                                      .legend_length = options.legend_length};
  std::optional<leda::language::TissueWords> tissue_words;
  if (catalogue.has_tissue()) tissue_words = tissue_words_of(vocabulary, console);

  leda::explanation::ExplainOptions wanted{.slice_ids = slices_of(options, catalogue),
                                           .levels = options.levels,
                                           .num_top_words = options.top_words,
                                           .num_pictures = options.max_pictures,
                                           .max_positions = options.max_positions,
                                           .tissue_words = tissue_words ? &*tissue_words : nullptr,
                                           .denoise_hu = denoise_function(options.denoiser, device)};
  const leda::explanation::ExplanationSources sources{.data_folder = options.data_folder,
                                                      .autoencoder = options.autoencoder,
                                                      .autoencoder_checksum = file.checksum,
                                                      .codebook_ablation = file.codebook_ablation,
                                                      .denoiser = options.denoiser};
  std::optional<leda::explanation::ExplainedSlices> explained;
  const ExitCode code = leda::programs::run_stoppable(
      [&](const auto& should_stop) {
        wanted.should_stop = should_stop;
        explained = leda::explanation::explain(catalogue, reader, wanted, communicator, console);
        return explained && leda::explanation::write_explanation(options.output, *explained, catalogue, vocabulary,
                                                                 sources, display, communicator, should_stop);
      },
      "stopped, on request; nothing was written", communicator, console);
  if (code != ExitCode::finished) return code;
  console.print(fmt::format("\n{}", leda::explanation::explanation_text(explained->explanation, vocabulary)));
  console.print(fmt::format("page: {}", fs::absolute(fs::path(options.output) / "explanation.html").string()));
  return ExitCode::finished;
}

}  // namespace

int main(int argc, char** argv) { leda::programs::run_program(argc, argv, "leda_explain", explain); }
