#include "checkpoint/save_outcome_text.hpp"

#include <fmt/format.h>

#include <exception>
#include <nlohmann/json.hpp>

#include "distributed/core/caught_error.hpp"

namespace leda::checkpoint {
namespace {

using Json = nlohmann::json;

Json failure(base::ExitCode exit_code, const base::ErrorText& text, bool is_own = true) {
  return {{"exit_code", static_cast<int>(exit_code)},
          {"is_own", is_own},
          {"what", text.what},
          {"value", text.value},
          {"why", text.why},
          {"remedy", text.remedy}};
}

Json outcome_of(BackgroundSave& save) {
  try {
    const SaveCost cost = save.result();
    return {{"exit_code", 0},
            {"step", cost.step},
            {"num_bytes", cost.num_bytes},
            {"write_seconds", cost.write_seconds},
            {"verify_seconds", cost.verify_seconds},
            {"retention_seconds", cost.retention_seconds}};
  } catch (const SaveAborted& reason) {
    return failure(base::ExitCode::storage,
                   {.what = "a part of the checkpoint is missing",
                    .value = reason.what(),
                    .why = "",
                    .remedy = "look at that rank's host and its file system"},
                   false);
  } catch (const std::exception&) {
    const base::Error error = distributed::caught_error("a checkpoint could not be written");
    return failure(error.exit_code(), error.text());
  }
}

}  // namespace

std::string outcome_text(BackgroundSave& save) {
  // File names may hold bytes that are no UTF-8: in a message they are replaced.
  return outcome_of(save).dump(-1, ' ', false, Json::error_handler_t::replace);
}

JointOutcome joint_outcome(const std::vector<std::string>& texts) {
  JointOutcome joint;
  bool is_own = false;
  for (std::size_t rank = 0; rank < texts.size(); ++rank) {
    const Json one = Json::parse(texts[rank]);
    const auto exit_code = static_cast<base::ExitCode>(one.at("exit_code").get<int>());
    if (exit_code == base::ExitCode::finished || (joint.failure && (is_own || !one.at("is_own")))) continue;
    is_own = one.at("is_own");
    const std::string where = rank == 0 ? "" : fmt::format(" (on rank {})", rank);
    joint.failure.emplace(exit_code, base::ErrorText{.what = one.at("what").get<std::string>() + where,
                                                     .value = one.at("value"),
                                                     .why = one.at("why"),
                                                     .remedy = one.at("remedy")});
  }
  if (joint.failure) return joint;
  const Json first = Json::parse(texts.front());
  joint.cost = {.step = first.at("step"),
                .num_bytes = first.at("num_bytes"),
                .pause_seconds = 0.0,
                .write_seconds = first.at("write_seconds"),
                .verify_seconds = first.at("verify_seconds"),
                .retention_seconds = first.at("retention_seconds")};
  return joint;
}

}  // namespace leda::checkpoint
