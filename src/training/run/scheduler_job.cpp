#include "training/run/scheduler_job.hpp"

#include <charconv>
#include <cmath>
#include <string_view>
#include <system_error>

namespace leda::training {
namespace {

std::optional<double> seconds_of(const char* text) {
  if (text == nullptr) return std::nullopt;
  const std::string_view all(text);
  double value = 0.0;
  const auto [rest, error] = std::from_chars(all.data(), all.data() + all.size(), value);
  const bool is_time = error == std::errc() && rest == all.data() + all.size() && std::isfinite(value) && value > 0.0;
  return is_time ? std::optional(value) : std::nullopt;
}

}  // namespace

SchedulerJob read_scheduler_job(const std::function<const char*(const char*)>& variable) {
  const char* id = variable("SLURM_JOB_ID");
  if (id == nullptr) return {};
  return {.id = id,
          .start = seconds_of(variable("SLURM_JOB_START_TIME")),
          .end = seconds_of(variable("SLURM_JOB_END_TIME")),
          .submitted = seconds_of(variable("LEDA_JOB_SUBMIT_TIME"))};
}

}  // namespace leda::training
