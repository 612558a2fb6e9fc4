#include "config/job_sections.hpp"

namespace leda::config {

void bind_leda(OptionTable& table, training::JobOptions& job) {
  table.section("leda", "the LEDA loss of stage 2");
  table.add("leda.weight", "w, of the LEDA loss; 0 = the baseline", &job.denoise.leda.weight, {.range = at_least(0)});
  table.add("leda.autoencoder", "autoencoder.safetensors of a stage 1; empty = this run's own",
            &job.denoise.leda.autoencoder);
  table.add("leda.token_term",
            "hard (squared distance of the chosen embeddings) or soft (divergence of the token distributions)",
            &job.denoise.leda.token_term);
  table.add("leda.token_weight", "of the token term within the LEDA loss; the feature term has 1",
            &job.denoise.leda.token_weight, {.range = at_least(0)});
  table.add("leda.token_temperature", "token term soft: scores are divided by it before the softmax over all words",
            &job.denoise.leda.token_temperature, {.range = above(0)});
}

}  // namespace leda::config
