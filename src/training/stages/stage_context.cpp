#include "training/stages/stage_context.hpp"

#include <fmt/format.h>

#include "base/error.hpp"

namespace leda::training {

std::int64_t global_batch_of(std::int64_t own, const TrainingOptions& training) {
  return own > 0 ? own : training.global_batch;
}

double scaled_learning_rate(double base, std::int64_t global_batch, const TrainingOptions& training) {
  return training.learning_rate_scaling == RateScaling::linear ? base * static_cast<double>(global_batch) : base;
}

LearningRateSchedule schedule_of(double base, std::int64_t num_steps, std::int64_t global_batch,
                                 const TrainingOptions& training) {
  return {scaled_learning_rate(base, global_batch, training), num_steps, training.num_warm_up_steps,
          training.final_learning_rate_fraction};
}

void check_image_sides(const data::ShardCatalogue& catalogue, std::int64_t crop, int multiple, int smallest,
                       const std::string& reader) {
  const std::int64_t rows = crop > 0 ? crop : catalogue.rows();
  const std::int64_t columns = crop > 0 ? crop : catalogue.columns();
  const auto fits = [&](std::int64_t side) { return side % multiple == 0 && side >= smallest; };
  if (fits(rows) && fits(columns)) return;
  throw base::ErrorOnAllRanks(
      base::ExitCode::data,
      {.what =
           fmt::format("{} of {} do not fit {}", crop > 0 ? "crops" : "images", catalogue.folder().string(), reader),
       .value = fmt::format("{} x {} pixels", rows, columns),
       .why = fmt::format("sides must be multiples of {} and at least {}", multiple, smallest),
       .remedy = crop > 0 ? "set another denoiser.crop" : "import the images with another size, or choose a crop"});
}

}  // namespace leda::training
