#include "training/run/denoiser_phase.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace leda::training {
namespace {

constexpr const char* kWithLeda = "with LEDA";
constexpr const char* kWithoutLeda = "without LEDA";

}  // namespace

bool has_stage(const JobOptions& options, JobStage stage) {
  return std::find(options.run.stages.begin(), options.run.stages.end(), stage) != options.run.stages.end();
}

std::vector<DenoiserPhase> denoiser_phases(const JobOptions& options) {
  std::vector<DenoiserPhase> phases;
  for (std::int64_t i = 0; i < options.run.num_denoiser_seeds; ++i) {
    const std::uint64_t seed = options.run.seed + static_cast<std::uint64_t>(i);
    const std::string suffix = i == 0 ? "" : fmt::format("_seed_{}", seed);
    if (has_stage(options, JobStage::baseline)) phases.push_back({kWithoutLeda, "without_leda" + suffix, seed, 0.0});
    if (!has_stage(options, JobStage::denoise)) continue;
    const bool with_leda = options.leda.weight != 0.0;
    phases.push_back({with_leda ? kWithLeda : "leda.weight 0", (with_leda ? "with_leda" : "weight_0") + suffix, seed,
                      options.leda.weight});
  }
  return phases;
}

}  // namespace leda::training
