#include "distributed/core/rank_zero.hpp"

#include <exception>
#include <nlohmann/json.hpp>

#include "distributed/core/caught_error.hpp"
#include "distributed/core/error_message.hpp"

namespace leda::distributed {
namespace {

using Json = nlohmann::json;

Json outcome_of(const std::function<std::string()>& work) {
  try {
    return {{"result", work()}};
  } catch (const std::exception&) {
    return {{"failure", error_message(caught_error("rank 0 could not work on a checkpoint"))}};
  }
}

}  // namespace

std::string on_rank_zero(distributed::Communicator& communicator, const std::function<std::string()>& work) {
  std::string text;
  // File names may hold bytes that are no UTF-8: in a message they are replaced.
  if (communicator.rank() == 0) text = outcome_of(work).dump(-1, ' ', false, Json::error_handler_t::replace);
  const Json outcome = Json::parse(distributed::broadcast_text(communicator, text, 0));
  if (outcome.contains("failure")) throw error_of_message(outcome.at("failure").get<std::string>());
  return outcome.at("result").get<std::string>();
}

}  // namespace leda::distributed
