#include "config/explain_options.hpp"

#include "ct/hounsfield.hpp"

namespace leda::config {

ProgramDescription explain_program() {
  return {.name = "leda_explain",
          .summary =
              "draws the words that a trained autoencoder sees in CT images, and measures their agreement with "
              "the normal dose",
          .description =
              "Writes explanation.html (one page, opens offline), explanation.json and a PNG per slice and "
              "level drawn.",
          .examples = {{"mpirun -np 2 leda_explain --data.folder data/quickstart/test --explain.output words \\\n"
                        "      --explain.autoencoder runs/quickstart/pretrain/autoencoder.safetensors \\\n"
                        "      --explain.denoiser runs/quickstart/with_leda/denoiser.safetensors",
                        ""}}};
}

void bind_explain_options(OptionTable& table, ExplainProgramOptions& options) {
  table.section("data", "what is explained");
  table.add("data.folder", "holds *.h5 shards", &options.data_folder);
  table.section("explain", "whose words, of which images, and where the results go");
  table.add("explain.autoencoder", "the autoencoder.safetensors whose words are shown", &options.autoencoder);
  table.add("explain.vocabulary", "that it was trained with: builtin or a vocabulary file", &options.vocabulary);
  table.add("explain.denoiser", "a denoiser.safetensors; without one there is no denoised image", &options.denoiser);
  table.add("explain.output", "folder for page, JSON and pictures", &options.output);
  table.add("explain.slices", "slice ids, with commas; empty: all", &options.slices, {.range = at_least(0)});
  table.add("explain.patient", "only this patient's slices; empty: all", &options.patient);
  table.add("explain.series", "only this series' slices; empty: all", &options.series);
  table.add("explain.levels", "levels of the token pyramid, from 1; empty: all", &options.levels,
            {.range = at_least(1)});
  table.add("explain.window", "HU range of the pictures: leda, abdomen, wide or LOW:HIGH", &options.window,
            {.check = ct::window_of});
  table.add("explain.legend_length", "words in a legend and in the page's tables", &options.legend_length,
            {.range = at_least(1)});
  table.add("explain.top_words", "most frequent words that the overlap compares", &options.top_words,
            {.range = at_least(1)});
  table.add("explain.max_pictures", "slices drawn, evenly spaced among those explained", &options.max_pictures,
            {.range = at_least(0)});
  table.add("explain.max_positions", "positions listed of each change of word", &options.max_positions,
            {.range = at_least(0)});
}

}  // namespace leda::config
