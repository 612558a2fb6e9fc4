#include "checkpoint/rank_zero.hpp"

#include <exception>
#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "checkpoint/caught_error.hpp"

namespace leda::checkpoint {
namespace {

using Json = nlohmann::json;

Json failure(base::ExitCode exit_code, const base::ErrorText& text) {
  return {{"exit_code", static_cast<int>(exit_code)},
          {"what", text.what},
          {"value", text.value},
          {"why", text.why},
          {"remedy", text.remedy}};
}

Json outcome_of(const std::function<std::string()>& work) {
  try {
    return {{"exit_code", 0}, {"result", work()}};
  } catch (const std::exception&) {
    const base::Error error = caught_error("rank 0 could not work on a checkpoint");
    return failure(error.exit_code(), error.text());
  }
}

}  // namespace

std::string on_rank_zero(distributed::Communicator& communicator, const std::function<std::string()>& work) {
  std::string text;
  // File names may hold bytes that are no UTF-8: in a message they are replaced.
  if (communicator.rank() == 0) text = outcome_of(work).dump(-1, ' ', false, Json::error_handler_t::replace);
  const Json outcome = Json::parse(distributed::broadcast_text(communicator, text, 0));
  const int exit_code = outcome.at("exit_code").get<int>();
  if (exit_code == 0) return outcome.at("result").get<std::string>();
  throw base::ErrorOnAllRanks(static_cast<base::ExitCode>(exit_code), {.what = outcome.at("what"),
                                                                       .value = outcome.at("value"),
                                                                       .why = outcome.at("why"),
                                                                       .remedy = outcome.at("remedy")});
}

}  // namespace leda::checkpoint
