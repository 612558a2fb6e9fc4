// leda_evaluate: measures trained denoisers over a data set, beside the classical baselines, on any number of
// ranks.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/command_line.hpp"
#include "config/evaluate_options.hpp"
#include "data/shards/shard_catalogue.hpp"
#include "evaluation/comparison_picture.hpp"
#include "evaluation/evaluation.hpp"
#include "evaluation/evaluation_report.hpp"
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

struct LoadedDenoisers {
  std::vector<leda::evaluation::Method> methods;
  leda::ct::Window window;
};

// NAME=FILE each. All of one window, because figures in different windows cannot stand in one table.
LoadedDenoisers load_denoisers(const std::vector<std::string>& wanted, const at::Device& device) {
  LoadedDenoisers loaded;
  for (const std::string& entry : wanted) {
    const std::size_t equals = entry.find('=');
    if (equals == std::string::npos || equals == 0) {
      refuse("evaluation.denoisers", fmt::format("'{}'", entry), "", "NAME=FILE, several with commas between them");
    }
    const auto denoiser = std::make_shared<const leda::inference::DenoiserInference>(
        entry.substr(equals + 1), leda::models::TensorSettings{.device = device});
    const leda::model_files::DenoiserFacts& facts = denoiser->facts();
    if (loaded.methods.empty()) loaded.window = facts.window;
    if (facts.window != loaded.window) {
      refuse("evaluation.denoisers: the files are of different windows",
             fmt::format("{} and {}", leda::ct::window_name(loaded.window), leda::ct::window_name(facts.window)),
             "their errors are not comparable", "evaluate them in separate calls");
    }
    loaded.methods.push_back({entry.substr(0, equals), static_cast<std::int64_t>(facts.seed),
                              [denoiser](const at::Tensor& low_dose_hu) { return denoiser->denoise_hu(low_dose_hu); }});
  }
  return loaded;
}

std::optional<leda::evaluation::WordReader> word_reader(const std::string& file, const at::Device& device) {
  if (file.empty()) return std::nullopt;
  leda::model_files::AutoencoderFile loaded = leda::model_files::load_autoencoder(file, {.device = device});
  return leda::evaluation::WordReader(std::move(loaded.autoencoder), loaded.window, file);
}

ExitCode evaluate(const std::vector<std::string>& arguments, leda::distributed::Communicator& communicator,
                  leda::logging::Console& console) {
  leda::config::EvaluateOptions options;
  leda::config::OptionTable table;
  leda::config::bind_evaluate_options(table, options);
  const leda::config::ProgramDescription program = leda::config::evaluate_program();
  const leda::config::CommandLine line = leda::config::parse_command_line(arguments, program, "", table);
  if (const auto answer = answer_to(line, program, table)) {
    console.print(*answer);
    return ExitCode::finished;
  }
  if (options.denoisers.empty()) {
    refuse("evaluation.denoisers", "empty", "there is nothing to measure",
           "NAME=FILE, several with commas between them");
  }

  leda::programs::set_threads(0, communicator);
  const at::Device device = leda::inference::inference_device(communicator);
  const std::optional<leda::evaluation::WordReader> words = word_reader(options.autoencoder, device);
  const LoadedDenoisers loaded = load_denoisers(options.denoisers, device);
  const auto test = leda::data::ShardCatalogue::open(fs::path(options.data_folder) / "test");
  const auto validation = leda::data::ShardCatalogue::open(fs::path(options.data_folder) / "validation");
  std::optional<leda::evaluation::EvaluationResult> result;
  const ExitCode code = leda::programs::run_stoppable(
      [&](const auto& should_stop) {
        result = leda::evaluation::evaluate(test, validation, loaded.methods,
                                            {.window = loaded.window,
                                             .max_tuning_slices = options.max_tuning_slices,
                                             .should_stop = should_stop,
                                             .words = words ? &*words : nullptr,
                                             .num_top_words = options.top_words},
                                            communicator, console);
        return result.has_value();
      },
      "stopped, on request; nothing was written", communicator, console);
  if (code != ExitCode::finished) return code;
  if (communicator.rank() != 0) return ExitCode::finished;
  leda::evaluation::write_evaluation(options.output, *result);
  const fs::path picture = fs::path(options.output) / "comparison.png";
  leda::evaluation::write_comparison_picture(
      picture, test, loaded.methods, {.window = loaded.window, .display = leda::ct::window_of(options.picture_window)});
  console.print(fmt::format("\n{}", leda::evaluation::table_text(*result)));
  console.print(fmt::format("picture: {}", fs::absolute(picture).string()));
  return ExitCode::finished;
}

}  // namespace

int main(int argc, char** argv) { leda::programs::run_program(argc, argv, "leda_evaluate", evaluate); }
