#include "config/evaluate_options.hpp"

#include "ct/hounsfield.hpp"

namespace leda::config {

ProgramDescription evaluate_program() {
  return {.name = "leda_evaluate",
          .summary =
              "measures denoisers over a data set: RMSE in HU, PSNR and SSIM inside the body, beside the best "
              "Gaussian and non-local means, which are tuned on the validation slices",
          .description =
              "Files of equal name are one row, one seed each. With --evaluation.autoencoder the agreement "
              "of words with the normal dose is measured too. Writes evaluation.txt, .json, .csv and "
              "comparison.png.",
          .examples = {{"mpirun -np 2 leda_evaluate --data.folder data/quickstart --evaluation.output results \\\n"
                        "      --evaluation.denoisers "
                        "mine=run/with_leda/denoiser.safetensors,theirs=b/denoiser.safetensors",
                        ""}}};
}

void bind_evaluate_options(OptionTable& table, EvaluateOptions& options) {
  table.section("data", "what is measured on");
  table.add("data.folder", "holds validation/ and test/ with *.h5 shards", &options.data_folder);
  table.section("evaluation", "what is measured, and where the results go");
  table.add("evaluation.denoisers", "NAME=FILE of each denoiser.safetensors, with commas", &options.denoisers);
  table.add("evaluation.output", "folder for table, JSON, CSV and picture", &options.output);
  table.add("evaluation.picture_window", "HU range of the picture", &options.picture_window, {.check = ct::window_of});
  table.add("evaluation.max_tuning_slices", "validation slices the classical baselines are tuned on",
            &options.max_tuning_slices, {.range = at_least(1)});
  table.add("evaluation.autoencoder", "an autoencoder.safetensors: agreement of its words is measured too",
            &options.autoencoder);
  table.add("evaluation.top_words", "most frequent words that the overlap compares", &options.top_words,
            {.range = at_least(1)});
}

}  // namespace leda::config
