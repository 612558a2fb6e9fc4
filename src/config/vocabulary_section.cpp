#include "config/job_sections.hpp"

namespace leda::config {

void bind_vocabulary(OptionTable& table, training::JobOptions& job) {
  table.section("vocabulary", "the codebook's words");
  table.add("vocabulary.file", "words and embeddings: builtin, or an HDF5 file", &job.pretrain.vocabulary.file);
  table.add("vocabulary.normalise_rows", "scale every word's embedding to length 1",
            &job.pretrain.vocabulary.normalise_rows);
  table.add(
      "vocabulary.control",
      "codebook without the language, keyed by run.seed: none, shuffled (embeddings dealt to other words), random "
      "(directions at random, every row as long as before)",
      &job.pretrain.vocabulary.ablation);
}

}  // namespace leda::config
