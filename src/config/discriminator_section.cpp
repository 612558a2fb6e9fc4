#include "config/job_sections.hpp"

namespace leda::config {

void bind_discriminator(OptionTable& table, training::JobOptions& job) {
  table.section("discriminator", "adversarial loss of stage 1");
  table.add("discriminator.weight", "of the adversarial loss before its adaptive weight; 0 = no discriminator",
            &job.pretrain.adversarial.weight, {.range = at_least(0)});
  table.add("discriminator.start_step", "first step in which it acts", &job.pretrain.adversarial.start_step,
            {.range = at_least(0)});
  table.add("discriminator.learning_rate", "of the discriminator", &job.pretrain.adversarial.learning_rate,
            {.range = above(0)});
  table.add("discriminator.channels", "channels of its first layer", &job.pretrain.discriminator.channels,
            {.range = at_least(1)});
  table.add("discriminator.layers", "its halvings of the resolution", &job.pretrain.discriminator.layers,
            {.range = between(1, 8)});
  table.add("discriminator.norm", "batch (over all ranks) or group", &job.pretrain.discriminator.norm);
}

}  // namespace leda::config
