// leda_evaluate: measures trained denoisers over a data set, beside the yardsticks without learning, on any number of
// ranks.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "config/command_line.hpp"
#include "config/option_table.hpp"
#include "data/shard_catalogue.hpp"
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

constexpr const char* kUsage =
    R"(leda_evaluate: PSNR, SSIM and RMSE in HU of denoisers, inside the body, beside the best Gaussian and
non-local means, which are tuned on the validation slices.

  mpirun -np 2 leda_evaluate --data.folder data/quickstart --evaluation.output results \
      --evaluation.denoisers without_LEDA=runs/a/without_leda/denoiser.safetensors,with_LEDA=runs/a/with_leda/denoiser.safetensors

Files of equal name are one row, one seed each. With --evaluation.autoencoder the agreement of words with the
normal dose is measured too. Writes evaluation.txt, .json, .csv and comparison.png.

Options and their defaults:
)";

struct Options {
  std::string data_folder = "data/quickstart";
  std::vector<std::string> denoisers;
  std::string output = "evaluation";
  std::string picture_window = "abdomen";
  std::int64_t max_tuning_slices = 6;
  std::string autoencoder;
  std::int64_t top_words = 5;
};

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
  Options options;
  leda::config::OptionTable table;
  table.add("data.folder", "holds validation/ and test/ with *.h5 shards", &options.data_folder);
  table.add("evaluation.denoisers", "NAME=FILE of each denoiser.safetensors, with commas", &options.denoisers);
  table.add("evaluation.output", "folder for table, JSON, CSV and picture", &options.output);
  table.add("evaluation.picture_window", "HU range of the picture", &options.picture_window);
  table.add("evaluation.max_tuning_slices", "validation slices the yardsticks are tuned on",
            &options.max_tuning_slices);
  table.add("evaluation.autoencoder", "an autoencoder.safetensors: agreement of its words is measured too",
            &options.autoencoder);
  table.add("evaluation.top_words", "most frequent words that the overlap compares", &options.top_words);
  const leda::config::CommandLine line = leda::config::parse_command_line(arguments, {}, "", table);
  if (line.wants_help) console.say(fmt::format("{}{}", kUsage, table.help_text()));
  if (line.wants_version) console.say(fmt::format("leda_evaluate {}", LEDA_VERSION));
  if (line.wants_dump) console.say(table.dump());
  if (line.wants_help || line.wants_version || line.wants_dump) return ExitCode::finished;
  if (options.denoisers.empty()) {
    refuse("evaluation.denoisers", "empty", "there is nothing to measure",
           "NAME=FILE, several with commas between them");
  }
  if (options.top_words < 1) {
    refuse("evaluation.top_words", std::to_string(options.top_words), "", "a whole number from 1");
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
  console.say(fmt::format("\n{}", leda::evaluation::table_text(*result)));
  console.say(fmt::format("picture: {}", fs::absolute(picture).string()));
  return ExitCode::finished;
}

}  // namespace

int main(int argc, char** argv) { return leda::programs::run_program(argc, argv, "leda_evaluate", evaluate); }
